"""A hundred odd picture files, made by hand, each sent as a question and as an upload to a real service.

Every one is read or refused, with the status that says so; none takes more than 200 MB, or the service down.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

from tests.fuzzing.serving import Running

FORMS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_MB = 200
READ, REFUSED, TOO_LARGE, EITHER = {200, 201}, {422}, {413}, {200, 201, 413, 422}

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SCENE = Image.fromarray(COLOURS).resize((90, 60), Image.Resampling.BICUBIC)
RAMP = np.linspace(0, 1, 90 * 60).reshape(60, 90)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these sides, 1 bit a pixel, of these chunks alone; IDAT would be its pixels."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, (b"IEND", b""))
    )


def files() -> Iterator[tuple[str, bytes, set[int]]]:
    """Yield (name, bytes, the statuses that are right)."""
    for form in FORMS:
        whole = saved(SCENE, form)
        yield f"a whole {form}", whole, READ
        yield f"half a {form}", whole[: len(whole) // 2], REFUSED
        yield f"16 bytes of a {form}", whole[:16], REFUSED
        yield f"a {form} of noise", whole[:32] + np.random.default_rng(1).bytes(500), REFUSED
        yield f"a {form} twice", whole * 2, READ
        yield f"a {form} with HTML behind it", whole + b"<script>alert(1)</script>", READ
        yield f"a {form} with a zip behind it", whole + b"PK\x05\x06" + bytes(18), READ
        yield f"a {form} one wide", saved(SCENE.resize((1, 60)), form), READ
        yield f"a {form} of one pixel", saved(SCENE.resize((1, 1)), form), READ
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        deep = mode == "I;16"
        image = Image.fromarray((RAMP * 65_535).astype(np.uint16)) if deep else SCENE.convert(mode)
        yield f"a PNG of {mode}", saved(image, "PNG"), READ
    for mode in ("CMYK", "L"):
        yield f"a JPEG of {mode}", saved(SCENE.convert(mode), "JPEG"), READ
    for mode in ("LAB", "YCbCr", "CMYK", "LA"):
        yield f"a TIFF of {mode}", saved(SCENE.convert(mode), "TIFF"), READ
    for kind in (np.int32, np.float32):
        yield f"a TIFF of {kind.__name__}", saved(Image.fromarray((RAMP * 9).astype(kind)), "TIFF"), READ
    for orientation in (1, 2, 3, 4, 5, 6, 7, 8, 99):
        exif = Image.Exif()
        exif[Base.Orientation] = orientation
        yield f"a JPEG turned by {orientation}", saved(SCENE, "JPEG", exif=exif), READ
    for form in ("GIF", "WEBP", "PNG"):
        frames = [SCENE.rotate(angle) for angle in range(0, 360, 18)]
        yield f"a moving {form}", saved(SCENE, form, save_all=True, append_images=frames), READ
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 80_000_000, zip=True)
    yield "80 MB of packed text in a PNG", saved(SCENE, "PNG", pnginfo=text), REFUSED
    yield "a PNG of 13,375 squared", png(13_375, 13_375, (b"IDAT", zlib.compress(bytes(100)))), TOO_LARGE
    yield "a PNG of 2 billion squared", png(2**31 - 1, 2**31 - 1), TOO_LARGE | REFUSED
    yield "a PNG without pixels", png(90, 60), REFUSED
    yield "a PNG of no size", png(0, 0), REFUSED
    sides = 2 * (9400 - 1).to_bytes(3, "little")
    yield "a WebP of 9,400 squared", b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + sides, TOO_LARGE
    jpeg = bytearray(saved(SCENE, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 9000, 9000)
    yield "a JPEG of 9,000 squared", bytes(jpeg), TOO_LARGE
    yield (
        "a GIF of 65,535 squared",
        b"GIF89a" + b"\xff" * 4 + b"\0\0\0," + b"\0" * 4 + b"\xff" * 4,
        EITHER - READ,
    )
    yield "an empty file", b"", REFUSED
    yield "zeros", bytes(5000), REFUSED
    yield "text", b"this is no picture", REFUSED
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', REFUSED
    yield "HTML", b"<!doctype html><script>alert(1)</script>", REFUSED
    yield "EPS", saved(SCENE, "EPS"), REFUSED
    yield "PDF", saved(SCENE, "PDF"), REFUSED
    yield "ICO", saved(SCENE, "ICO"), REFUSED
    yield "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200), REFUSED
    yield "AVIF", b"\0\0\0 ftypavif" + bytes(200), REFUSED
    yield "a zip", b"PK\x03\x04" + bytes(200), REFUSED


@pytest.mark.parametrize("address", ["/api/search", "/api/images"])
def test_every_odd_picture_is_read_or_refused_within_bounds(running: Running, address: str) -> None:
    sent = 0
    with httpx.Client(base_url=running.url, timeout=60) as client:
        client.post(
            address, files={"image": ("a.png", saved(SCENE, "PNG"))}
        )  # loads what is loaded at first use
        for name, data, right in files():
            sent += 1
            forget_peak(running.popen.pid)
            before = psutil.Process(running.popen.pid).memory_info().rss
            answer = client.post(address, files={"image": (f"{name}.jpg", data, "image/jpeg")})
            assert answer.status_code in right, (name, answer.status_code, answer.text)
            if answer.status_code >= 400:
                assert answer.json()["detail"].startswith(f"{name}.jpg"), name
            assert peak_bytes(running.popen.pid) - before < MOST_MB * 1_000_000, name
        assert sent >= 95
        assert client.get("/readyz").status_code == 200
        assert client.get("/api/search", params={"text": "red"}).status_code == 200


def forget_peak(pid: int) -> None:
    """Let Linux count the most memory that a process had from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
