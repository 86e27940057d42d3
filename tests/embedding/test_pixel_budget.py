"""Decompression bombs are refused from their headers, at no cost."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from embedding.errors import ImageTooLargeError, UnreadableImageError
from embedding.images import decode_image

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

# A process of its own: its peak is nobody else's, and a bomb that goes off takes no test run with it.
MEASURE = """
import sys, time
from pathlib import Path
from embedding.errors import ImageTooLargeError
from embedding.images import decode_image
def peak_mb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
data = sys.stdin.buffer.read()
enough_px = int(sys.argv[1]) if sys.argv[1:] else None
before, started = peak_mb(), time.perf_counter()
try:
    image = decode_image(data, name="bomb", enough_px=enough_px)
    print(peak_mb() - before, time.perf_counter() - started, image.size)
except ImageTooLargeError as error:
    print(peak_mb() - before, time.perf_counter() - started, error)
"""


def a_png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb() -> bytes:
    """13,375 × 13,375 black pixels in 22 KB; Pillow needs 1 GB to make them RGB."""
    header = a_png_chunk(b"IHDR", struct.pack(">IIBBBBB", 13_375, 13_375, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((13_375 // 8 + 2) * 13_375), 9)
    return b"\x89PNG\r\n\x1a\n" + header + a_png_chunk(b"IDAT", rows) + a_png_chunk(b"IEND", b"")


def webp_bomb(side: int = 9_400) -> bytes:
    """88 million pixels in 34 bytes, 1.4 GB, under Pillow's own limit: every code has one symbol."""
    sizes = 0x2F | (side - 1) << 8 | (side - 1) << 22
    # No transform, no colour cache, no meta codes; then five times a simple code of one 1-bit symbol.
    bits = sizes | 0b0001_0001_0001_0001_0001_000 << 40
    body = bits.to_bytes(8, "little") + bytes(6)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_bomb() -> bytes:
    """A JPEG that promises 65,000 × 65,000 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def gif_bomb(screen: tuple[int, int] = (13_000, 13_000), frame: tuple[int, int] = (13_000, 13_000)) -> bytes:
    """A GIF whose first frame is wiped after it: Pillow fills the wipe on opening."""
    screen_and_palette = struct.pack("<HH", *screen) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    wiped = b"!\xf9\x04\x08\0\0\0\0"
    descriptor = b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0"
    return b"GIF89a" + screen_and_palette + wiped + descriptor + b"\2\2\x4c\1\0;"


def tiff_bomb(tile: int = 16_384) -> bytes:
    """One pixel in a tile of 16,384 × 16,384, in 780 KB; libtiff decodes the tile whole."""
    packer = zlib.compressobj()
    data = b"".join(packer.compress(bytes(tile * tile * 3 // 64)) for _ in range(64)) + packer.flush()
    entries = [
        (256, 4, 1), (257, 4, 1), (259, 3, 8), (262, 3, 2), (277, 3, 3), (322, 4, tile), (323, 4, tile),
        (324, 4, 14 + 12 * 9 + 8), (325, 4, len(data)),
    ]  # fmt: skip
    bits = struct.pack("<HHII", 258, 3, 3, 8 + 2 + 12 * 10 + 4)
    packed = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries]
    directory = struct.pack("<H", 10) + b"".join([*packed[:2], bits, *packed[2:]]) + bytes(4)
    head = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<HHH", 8, 8, 8) + bytes(2)
    return head.replace(struct.pack("<I", 14 + 12 * 9 + 8), struct.pack("<I", len(head))) + data


BOMBS = {
    "png": png_bomb, "webp": webp_bomb, "jpeg": jpeg_bomb, "gif": gif_bomb, "tiff": tiff_bomb,
    "gif_frame": lambda: gif_bomb(screen=(1, 1)),
}  # fmt: skip


def measured(data: bytes, *arguments: str) -> tuple[float, float, str]:
    """Return the MB that decoding adds to a fresh process's peak, its seconds, and what came of it."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEASURE, *arguments],
        input=data, capture_output=True, check=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.stderr == b""
    peak_mb, seconds, outcome = run.stdout.decode().strip().split(" ", 2)
    return float(peak_mb), float(seconds), outcome


@linux
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_at_no_cost(bomb: str) -> None:
    peak_mb, seconds, outcome = measured(BOMBS[bomb]())
    assert peak_mb <= 20  # 200 are allowed
    assert seconds <= 2
    assert outcome.startswith("bomb: ")
    assert "pixels; at most" in outcome


@linux
def test_a_telephones_48_megapixels_take_little_where_few_are_enough() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8_000, 6_000)).save(file, "JPEG")
    peak_mb, seconds, outcome = measured(file.getvalue(), "448")
    assert peak_mb <= 40  # 190 without
    assert seconds <= 2
    assert outcome == "(1000, 750)"


def test_the_webp_bomb_is_a_picture_pillow_decodes() -> None:
    assert decode_image(webp_bomb(100), name="bomb").size == (100, 100)


def test_the_tiff_bomb_is_a_picture_pillow_decodes() -> None:
    assert decode_image(tiff_bomb(64), name="bomb").size == (1, 1)


def test_a_webp_may_have_half_the_pixels() -> None:
    assert decode_image(webp_bomb(100), name="picture", max_pixels=20_000).size == (100, 100)
    with pytest.raises(ImageTooLargeError, match="at most 9,999 pixels"):
        decode_image(webp_bomb(100), name="picture", max_pixels=19_999)


@pytest.mark.parametrize("options", [{"lossless": True}, {}, {"exif": b"Exif\0\0"}])
def test_every_kind_of_webp_header_is_measured(options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (300, 200)).save(file, "WEBP", **options)
    with pytest.raises(ImageTooLargeError, match="300 × 200 pixels"):
        decode_image(file.getvalue(), name="picture", max_pixels=2 * 60_000 - 1)
    assert decode_image(file.getvalue(), name="picture", max_pixels=2 * 60_000).size == (300, 200)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_no_side_may_be_longer_than_a_panoramas(file_format: str) -> None:
    for side in (16_384, 16_385):
        file = io.BytesIO()
        Image.new("L", (1, side)).save(file, file_format)
        if side == 16_384:
            assert decode_image(file.getvalue(), name="picture").size == (1, side)
        else:
            with pytest.raises(ImageTooLargeError, match="1 × 16,385 pixels"):
                decode_image(file.getvalue(), name="picture")


def test_an_animations_huge_later_frames_cost_nothing() -> None:
    first = gif_bomb(screen=(2, 2), frame=(1, 1))
    later = b"," + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + b"\0\2\2\x4c\1\0;"
    assert decode_image(first[:-1] + later, name="picture").size == (2, 2)


def a_jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG of 64 × 64 pixels that repeats its last scan."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    data = file.getvalue()[:-2]
    return data + data[data.rindex(b"\xff\xda") :] * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def test_a_jpeg_that_repeats_its_scans_is_refused() -> None:
    """At the default budget, 200 of them took 10 s."""
    assert decode_image(a_jpeg_of_scans(25), name="picture", max_pixels=64 * 64).size == (64, 64)
    with pytest.raises(ImageTooLargeError, match="26 scans"):
        decode_image(a_jpeg_of_scans(26), name="picture", max_pixels=64 * 64)


def test_scans_hidden_behind_a_comment_are_counted() -> None:
    data = a_jpeg_of_scans(10)
    last = data.rindex(b"\xff\xda")
    comment = b"\xff\xfe" + struct.pack(">H", 4) + b"\xff\xd9"
    with pytest.raises(ImageTooLargeError, match="40 scans"):
        decode_image(
            data[:last] + (comment + data[last:-2]) * 31 + b"\xff\xd9", name="picture", max_pixels=64 * 64
        )


def test_headers_without_end_are_refused() -> None:
    gif = gif_bomb(screen=(2, 2), frame=(1, 1))
    start = gif.index(b"!\xf9")
    with pytest.raises(UnreadableImageError, match="GIF damaged"):
        decode_image(gif[:start] + bytes(2_000_000) + gif[start:], name="picture")
    jpeg = a_jpeg_of_scans(10)
    with pytest.raises(UnreadableImageError, match="segments"):
        decode_image(jpeg[:-2] + b"\xff\xfe\0\2" * 20_000 + b"\xff\xd9", name="picture")
