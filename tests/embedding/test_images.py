"""Decoding untrusted bytes: what is read, what is refused and how, what a picture tells."""

import io
import struct
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile

from embedding.errors import ImageError, ImageTooLargeError, UnreadableImageError
from embedding.images import decode_image, decode_image_with_facts, perceptual_hash, thumbnail

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]


def a_scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture without any symmetry, so that every turn and flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        x * 255 / max(width - 1, 1),
        y * 255 / max(height - 1, 1),
        (x + 2 * y) * 80 / (width + height),
    ]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pixels(image: Image.Image) -> NDArray[np.int16]:
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int16)


def decoded(data: bytes) -> NDArray[np.int16]:
    return pixels(decode_image(data, name="picture"))


# What is read


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_common_format_is_read_and_named(file_format: str) -> None:
    image, facts = decode_image_with_facts(encoded(a_scene(), file_format), name="picture")
    assert (facts.width, facts.height, facts.format) == (96, 64, file_format.lower())
    assert facts.taken_at is None
    assert np.abs(pixels(image) - pixels(a_scene())).mean() < 8


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_comes_back_pixel_for_pixel(file_format: str) -> None:
    assert np.array_equal(decoded(encoded(a_scene(), file_format)), pixels(a_scene()))


def test_a_16_bit_picture_is_scaled_and_not_clipped_to_white() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1))
    for file_format in ("PNG", "TIFF"):
        shown = decoded(encoded(Image.fromarray(ramp), file_format))[0, :, 0]
        assert np.abs(shown - np.arange(256)).max() <= 1


def test_a_big_endian_16_bit_picture_is_scaled() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(">u2"), (16, 1))
    image = Image.frombytes("I;16B", (256, 16), ramp.tobytes())
    assert np.abs(decoded(encoded(image, "TIFF"))[0, :, 0] - np.arange(256)).max() <= 1


@pytest.mark.parametrize("white", [255, 65535, 2**31 - 1])
def test_a_32_bit_picture_is_scaled_from_the_range_it_uses(white: int) -> None:
    ramp = np.tile(np.linspace(0, white, 256).astype(np.int32), (16, 1))
    assert np.abs(decoded(encoded(Image.fromarray(ramp), "TIFF"))[0, :, 0] - np.arange(256)).max() <= 1


@pytest.mark.parametrize(("black", "white"), [(0, 1), (0, 255), (-3, 7), (1e30, 3e38)])
def test_a_float_picture_is_scaled_from_the_range_it_uses(black: float, white: float) -> None:
    ramp = np.tile(np.linspace(black, white, 256).astype(np.float32), (80, 1))
    assert np.abs(decoded(encoded(Image.fromarray(ramp), "TIFF"))[70, :, 0] - np.arange(256)).max() <= 1


def test_a_float_picture_may_hold_infinities_and_nan() -> None:
    samples = np.array([[np.nan, -np.inf, np.inf, 10, 20]], np.float32)
    assert decoded(encoded(Image.fromarray(samples), "TIFF"))[0, :, 0].tolist() == [0, 0, 255, 10, 20]
    nothing = np.full((2, 2), np.nan, np.float32)
    assert decoded(encoded(Image.fromarray(nothing), "TIFF")).max() == 0


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    shown = decoded(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(shown - (255, 0, 0)).max() < 8


def test_a_palette_picture_keeps_its_colours() -> None:
    palette = a_scene().quantize(64)
    assert np.array_equal(decoded(encoded(palette, "PNG")), pixels(palette.convert("RGB")))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"]
)
def test_every_mode_a_file_can_hold_becomes_rgb(mode: str) -> None:
    assert decoded(encoded(Image.new(mode, (7, 5)), "TIFF")).shape == (5, 7, 3)


def test_transparency_is_laid_on_white() -> None:
    red = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    red.putpixel((1, 0), (255, 0, 0, 0))
    red.putpixel((2, 0), (255, 0, 0, 128))
    for file_format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        shown = decoded(encoded(red, file_format, **options))[0].tolist()
        assert shown == [[255, 0, 0], [255, 255, 255], [255, 127, 127]]


def test_a_transparent_palette_or_grey_is_laid_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    for file_format in ("PNG", "GIF"):
        assert decoded(encoded(palette, file_format, transparency=0))[0].tolist() == [
            [255, 255, 255],
            [200, 0, 0],
        ]
    assert decoded(encoded(Image.new("LA", (1, 1), (0, 0)), "PNG")).tolist() == [[[255, 255, 255]]]
    assert decoded(encoded(Image.new("RGB", (1, 1)), "PNG", transparency=(0, 0, 0))).tolist() == [[[255] * 3]]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(decoded(data), pixels(frames[0]))


def test_a_telephones_mpo_is_read_as_the_jpeg_it_begins_with() -> None:
    data = encoded(a_scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    image, facts = decode_image_with_facts(data, name="picture")
    assert (image.size, facts.format) == ((96, 64), "jpeg")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_picture_one_pixel_wide_is_read(file_format: str, width: int, height: int) -> None:
    data = encoded(a_scene(width, height), file_format)
    assert decode_image(data, name="picture", enough_px=448).size == (width, height)


@pytest.mark.parametrize("behind", [b"<html><script>alert(1)</script>", b"PK\x03\x04" + b"\xff\xda" * 500])
def test_what_lies_behind_a_jpegs_end_is_not_looked_at(behind: bytes) -> None:
    data = encoded(a_scene(), "JPEG")
    assert np.array_equal(decoded(data + behind), decoded(data))


# Upright


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_every_exif_orientation_comes_back_upright(file_format: str, orientation: int) -> None:
    upright = pixels(a_scene())
    lying = Image.fromarray(np.ascontiguousarray(TURNS[orientation](upright)).astype(np.uint8))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(file_format, {})
    data = encoded(lying, file_format, exif=exif, **options)
    image, facts = decode_image_with_facts(data, name="picture")
    assert np.abs(pixels(image) - upright).max() <= (4 if file_format == "JPEG" else 0)
    assert (facts.width, facts.height) == (96, 64)
    assert image.getexif().get(Base.Orientation, 1) == 1  # so that nobody turns it a second time


def test_a_nonsense_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 99
    assert np.array_equal(decoded(encoded(a_scene(), "PNG", exif=exif)), pixels(a_scene()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_spoils_no_picture() -> None:
    data = encoded(a_scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    image, facts = decode_image_with_facts(data, name="picture")
    assert image.size == (96, 64)
    assert facts.taken_at is None


# When it was taken


def taken_at(when: object, offset: object = None, file_format: str = "JPEG") -> datetime | None:
    exif = Image.Exif()
    exif[Base.Orientation] = 1  # Pillow leaves out an EXIF with nothing but details
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal] = when
    if offset is not None:
        details[Base.OffsetTimeOriginal] = offset
    return decode_image_with_facts(encoded(a_scene(), file_format, exif=exif.tobytes()), name="picture")[
        1
    ].taken_at


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_time_a_photo_was_taken_is_read(file_format: str) -> None:
    assert taken_at("2021:05:06 07:08:09", "+07:00", file_format) == datetime(2021, 5, 6, 0, 8, 9, tzinfo=UTC)


def test_a_time_without_offset_is_read_as_utc() -> None:
    assert taken_at("2021:05:06 07:08:09") == datetime(2021, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert taken_at("2021:05:06 07:08:09", "nowhere") == datetime(2021, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "when",
    ["0000:00:00 00:00:00", "    :  :     :  :  ", "2021:13:40 25:61:61", "0001:01:01 00:00:00", "today", ""],
)
def test_a_nonsense_date_is_no_date(when: str) -> None:
    assert taken_at(when) is None
    assert taken_at(when, "+14:00") is None


# Enough pixels


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("enough_px", [1, 60, 100, 299, 300, 301])
def test_a_picture_is_never_made_smaller_than_enough(file_format: str, enough_px: int) -> None:
    data = encoded(a_scene(500, 300), file_format)
    image, facts = decode_image_with_facts(data, name="picture", enough_px=enough_px)
    if enough_px > 150:
        assert image.size == (500, 300)
    else:
        assert enough_px <= min(image.size) < 2 * enough_px
    assert (facts.width, facts.height) == (500, 300)


def test_a_smaller_decode_shows_the_same_picture() -> None:
    full = decode_image(encoded(a_scene(1600, 1200), "JPEG"), name="picture")
    small = decode_image(encoded(a_scene(1600, 1200), "JPEG"), name="picture", enough_px=300)
    assert small.size == (400, 300)
    assert np.abs(pixels(full.resize((400, 300), Image.Resampling.BOX)) - pixels(small)).max() <= 3


# What is refused


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as refused:
        decode_image(data, name="holiday.jpg")
    assert str(refused.value).startswith("holiday.jpg: ")
    return str(refused.value)


def test_an_empty_file_is_refused_by_name() -> None:
    assert "empty" in refusal(b"")


def test_text_renamed_to_jpg_is_refused_by_name() -> None:
    assert "no JPEG, PNG, WebP, GIF, BMP or TIFF" in refusal(b"Dear diary, today I renamed a file.")


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0", b"8BPS\0\1", b"RIFF\0\0\0\0WAVEfmt "],
)
def test_formats_nobody_asked_for_are_refused(data: bytes) -> None:
    assert "no JPEG" in refusal(data)


def test_a_heic_is_refused_with_advice() -> None:
    assert "convert it to JPEG" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_a_truncated_file_is_refused_by_name(file_format: str, kept: float) -> None:
    data = encoded(noise(96, 64), file_format)
    assert f"{file_format} damaged or cut short" in refusal(data[: int(len(data) * kept)])


def test_a_progressive_jpeg_cut_short_is_refused() -> None:
    data = encoded(a_scene(), "JPEG", progressive=True)
    assert "JPEG damaged or cut short" in refusal(data[: len(data) // 2])


def a_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_png_text_bomb_is_refused() -> None:
    png = encoded(a_scene(), "PNG")
    bomb = a_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(5_000_000)))
    assert "PNG damaged" in refusal(png[:33] + bomb + png[33:])


def test_a_png_with_a_broken_chunk_is_refused() -> None:
    png = bytearray(encoded(a_scene(), "PNG"))
    png[png.index(b"IDAT") + 10] ^= 0xFF
    assert "PNG damaged" in refusal(bytes(png))


def test_a_run_length_encoded_bmp_is_refused() -> None:
    bmp = bytearray(encoded(a_scene().quantize(16), "BMP"))
    bmp[30:34] = struct.pack("<I", 1)
    assert "run-length" in refusal(bytes(bmp))


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(), EOFError(), struct.error("short"), zlib.error("bad"), OverflowError("big"),
        AssertionError(), IndexError("end"), KeyError("mode"), TypeError("none"), AttributeError("no fp"),
        ZeroDivisionError("dpi"),
    ],
    ids=lambda fault: type(fault).__name__,
)  # fmt: skip
def test_whatever_a_decoder_raises_is_told_as_an_unreadable_picture(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise fault

    monkeypatch.setattr(PngImageFile, "load", fail)
    assert (str(fault) or type(fault).__name__) in refusal(encoded(a_scene(), "PNG"))


def test_a_picture_over_the_budget_is_refused_with_its_size() -> None:
    data = encoded(a_scene(), "PNG")
    with pytest.raises(ImageTooLargeError, match=r"^big\.png: 96 × 64 pixels; at most 6,143 pixels"):
        decode_image(data, name="big.png", max_pixels=96 * 64 - 1)
    assert decode_image(data, name="big.png", max_pixels=96 * 64).size == (96, 64)


ORIGINALS = [
    encoded(a_scene(24, 16), file_format, **options)
    for file_format, options in (
        *((file_format, {}) for file_format in FORMATS),
        (
            "JPEG",
            {"progressive": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"},
        ),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
        ("GIF", {"save_all": True, "append_images": [Image.new("RGB", (24, 16))]}),
    )
] + [
    encoded(Image.new("F", (9, 9)), "TIFF"),
    encoded(Image.new("I;16", (9, 9)), "PNG"),
    encoded(Image.new("LA", (9, 9)), "PNG"),
    encoded(a_scene().quantize(8), "PNG", transparency=b"\0\1\2"),
]


@given(
    original=st.sampled_from(ORIGINALS),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=8
    ),
    cut=st.floats(0, 1),
    enough_px=st.sampled_from([None, 4]),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_mutation_of_a_file_raises_anything_but_an_image_error(
    original: bytes, edits: list[tuple[float, bytes]], cut: float, enough_px: int | None
) -> None:
    data = bytearray(original)
    for place, patch in edits:
        at = int(place * len(data))
        data[at : at + len(patch)] = patch
    end = len(data) if cut > 0.5 else int(2 * cut * len(data))
    try:
        image, facts = decode_image_with_facts(
            bytes(data[:end]), name="fuzz", max_pixels=100_000, enough_px=enough_px
        )
    except ImageError as refused:
        message = str(refused)
    else:
        message = "fuzz: read"
        assert image.mode == "RGB"
        assert facts.width * facts.height <= 100_000
    assert message.startswith("fuzz: ")


# What a picture tells


def test_the_perceptual_hash_fits_a_signed_64_bit_column() -> None:
    hashes = [perceptual_hash(noise(60, 50, seed)) for seed in range(32)]
    assert all(-(2**63) <= each < 2**63 for each in hashes)
    assert min(hashes) < 0 < max(hashes)


def test_the_perceptual_hash_has_a_bit_for_every_brighter_right_neighbour() -> None:
    rising = Image.fromarray(np.tile(np.arange(0, 252, 28, dtype=np.uint8), (8, 1))).convert("RGB")
    assert perceptual_hash(rising) == -1
    assert perceptual_hash(rising.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0


def test_a_resized_and_recompressed_copy_has_nearly_the_same_hash() -> None:
    scenes = [noise(8, 6, seed).resize((800, 600), Image.Resampling.BICUBIC) for seed in (0, 1)]
    copy = decode_image(encoded(scenes[0].resize((400, 300)), "JPEG", quality=60), name="copy")
    assert (perceptual_hash(scenes[0]) ^ perceptual_hash(copy)).bit_count() <= 3
    assert (perceptual_hash(scenes[0]) ^ perceptual_hash(scenes[1])).bit_count() > 12


def test_a_thumbnail_is_small_and_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "somebody"
    data = encoded(a_scene(300, 200), "JPEG", exif=exif, comment=b"secret", dpi=(300, 300))
    small = thumbnail(decode_image(data, name="picture"), 100)
    stray = Image.new("RGB", (9, 9))
    stray.info["comment"] = b"secret"
    assert b"secret" not in thumbnail(stray, 100)
    assert b"somebody" not in small
    assert b"secret" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert (image.size, image.format, dict(image.getexif())) == ((100, 67), "JPEG", {})


def test_a_thumbnail_is_never_larger_than_the_picture() -> None:
    for size, expected in (((10, 5), (10, 5)), ((1, 5000), (1, 100)), ((101, 50), (100, 50))):
        with Image.open(io.BytesIO(thumbnail(Image.new("RGB", size), 100))) as image:
            assert image.size == expected
