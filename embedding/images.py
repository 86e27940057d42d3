"""Untrusted bytes to upright RGB pictures, and what a picture tells without an encoder.

Memory goes by the pixel, so the budget bounds it; a picture over the budget takes none. Measured with Pillow
13, at the worst moment, in bytes a pixel: JPEG 4 (CMYK 8), and 0.1 to 1 under enough_px; progressive JPEG 10
(CMYK 12), and 6 (8) under enough_px; PNG 4, with transparency 8 to 12; GIF 5 to 9; BMP 5; 16-bit 7; float 9;
WebP 16, which is why it may have half the pixels. At the default budget: 200 MB for most, 600 MB and 1.5 s at
worst. Both also follow the file's own size: whoever takes files from strangers limits that first.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import IFD, Base
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from embedding.errors import ImageTooLargeError, UnreadableImageError
from embedding.pixel_budget import MAX_PIXELS, check_before_decoding, check_before_opening

# Pillow's plugins, called directly: Image.open would run its own bomb check, try decoders that nobody asked
# for, and warn about some telephones' MPO files, which are JPEGs with more behind them.
_PLUGINS: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    b"II*\x00": TiffImageFile,
    b"MM\x00*": TiffImageFile,
}

# What Pillow's decoders raise on damaged files. UserWarning is among them for `-W error`: Pillow warns where
# it repairs, and silencing it here would not be thread-safe.
_DECODER_FAULTS = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, AssertionError, LookupError, ArithmeticError,
    EOFError, MemoryError, struct.error, zlib.error, UserWarning,
)  # fmt: skip

# EXIF 2.32, tag 0x0112: what undoes each orientation. 1 is upright; anything else is nonsense and left alone.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_FIRST_PHOTOGRAPH = 1826
_STRIP_PX = 64


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a picture's file says about it."""

    width: int
    """Pixels of the upright picture as filed, whatever size it was decoded at."""
    height: int
    format: str
    """jpeg, png, webp, gif, bmp or tiff; a telephone's MPO is a jpeg."""
    taken_at: datetime | None
    """EXIF DateTimeOriginal, in UTC. Without OffsetTimeOriginal the camera's local time is read as UTC, and
    so may be off by its time zone. None where there is none, or it is no date."""


def decode_image(
    data: bytes, *, name: str, max_pixels: int = MAX_PIXELS, enough_px: int | None = None
) -> Image.Image:
    """Return the picture in a file's bytes; as decode_image_with_facts, without the facts."""
    return decode_image_with_facts(data, name=name, max_pixels=max_pixels, enough_px=enough_px)[0]


def decode_image_with_facts(
    data: bytes, *, name: str, max_pixels: int = MAX_PIXELS, enough_px: int | None = None
) -> tuple[Image.Image, ImageFacts]:
    """Return the picture in a file's bytes, RGB and upright, and the facts of its file.

    Reads JPEG, PNG, WebP, GIF, BMP and TIFF; of an animation the first frame alone is decoded. Transparency
    is laid on white; 16-bit, 32-bit and float samples are scaled to 8 bits.

    Args:
        data: the whole file.
        name: what messages call the file.
        max_pixels: the budget; the top of this module says what that costs in memory.
        enough_px: the caller needs no shorter side longer than this. A large picture then comes at a whole
            fraction of its size, its shorter side still at least this long; a JPEG is decoded at a fraction.

    Raises:
        ImageTooLargeError: more pixels than max_pixels (a WebP: than half of it), or a side over MAX_SIDE_PX.
        UnreadableImageError: no picture of those formats, or damaged, or cut short.
    """
    plugin = _choose_plugin(data, name)
    try:
        picture, facts, orientation = _decode(plugin, data, name, max_pixels, enough_px)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name}: {error}") from error
    except _DECODER_FAULTS as error:
        why = str(error) or type(error).__name__
        raise UnreadableImageError(f"{name}: {plugin.format} damaged or cut short ({why})") from error
    # Only now, with the decoder's own picture gone: two pictures are in memory at a time, never three.
    if enough_px is not None and min(picture.size) >= 2 * enough_px:
        picture = picture.reduce(min(picture.size) // enough_px)
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    picture.info = {}  # else a later exif_transpose would turn it again, and a saved copy carry comments
    return picture, facts


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit difference hash, signed as PostgreSQL's bigint is; like pictures differ in few bits.

    Source: N. Krawetz, "Kind of Like That" (hackerfactor.com, 2013): of 9 × 8 grey pixels, one bit for each
    that is darker than its neighbour to the right.
    """
    grey = np.asarray(image.resize((9, 8), Image.Resampling.LANCZOS, reducing_gap=3).convert("L"))
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big", signed=True)


def thumbnail(image: Image.Image, longest_px: int) -> bytes:
    """Return a JPEG without metadata, its longer side at most longest_px; a small picture is not enlarged."""
    scale = min(1, longest_px / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2)
    small.info = {}
    file = BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


def _choose_plugin(data: bytes, name: str) -> type[ImageFile]:
    if not data:
        raise UnreadableImageError(f"{name}: the file is empty")
    for signature, plugin in _PLUGINS.items():
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return plugin
    if data[4:8] == b"ftyp":
        raise UnreadableImageError(f"{name}: HEIC, AVIF and films are not read; convert it to JPEG")
    raise UnreadableImageError(f"{name}: no JPEG, PNG, WebP, GIF, BMP or TIFF picture")


def _decode(
    plugin: type[ImageFile], data: bytes, name: str, max_pixels: int, enough_px: int | None
) -> tuple[Image.Image, ImageFacts, int]:
    """Return the RGB picture as it lies in the file, its facts, and the orientation still to be undone."""
    check_before_opening(plugin, data, name=name, max_pixels=max_pixels)
    image = plugin(BytesIO(data))
    check_before_decoding(image, data, name=name, max_pixels=max_pixels)
    width, height = image.size
    if enough_px is not None:
        image.draft(None, (enough_px, enough_px))  # does nothing but to a JPEG
    image.load()  # the whole of it: verify() passes a JPEG that is cut short
    # After load(): a PNG's EXIF may lie behind its pixels, and load() undoes a TIFF's orientation itself.
    orientation, taken_at = _read_orientation(image), _read_taken_at(image)
    if orientation in _SIDEWAYS:
        width, height = height, width
    facts = ImageFacts(width, height, str(plugin.format).lower(), taken_at)
    return _to_rgb(image), facts, orientation


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing or nonsense."""
    try:
        orientation = image.getexif().get(Base.Orientation)
    except _DECODER_FAULTS:  # damaged metadata spoils no picture
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _read_taken_at(image: Image.Image) -> datetime | None:
    try:
        details = image.getexif().get_ifd(IFD.Exif)
        taken = datetime.strptime(details[Base.DateTimeOriginal].strip(" \0"), "%Y:%m:%d %H:%M:%S")
    except _DECODER_FAULTS:
        return None
    if taken.year < _FIRST_PHOTOGRAPH:
        return None
    try:
        zone = datetime.strptime(details[Base.OffsetTimeOriginal].strip(" \0"), "%z").tzinfo
        return taken.replace(tzinfo=zone).astimezone(UTC)
    except _DECODER_FAULTS:
        return taken.replace(tzinfo=UTC)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":
        image = _to_8_bits(image)
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(rgba, mask=rgba)
        return flat
    # An opened WebP keeps its decoder's canvases, 8 bytes a pixel, alive: leave it for a copy.
    if image.mode == "RGB" and not isinstance(image, WebPImageFile):
        return image
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float samples to a grey picture, where Pillow would clip them to white."""
    low, high = _sample_range(image)
    grey = Image.new("L", image.size)
    for top, samples in _strips(image):
        finite = np.nan_to_num(samples, nan=low, posinf=high, neginf=low)
        scaled = np.rint((finite - low) * (255 / (high - low))).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), (0, top))
    return grey


def _sample_range(image: Image.Image) -> tuple[float, float]:
    """Return the samples that become black and white.

    16 bits: 0 and 65,535. Wider integers and floats do not say, so the narrowest usual range that holds them:
    0 to 1 (floats), 0 to 255, 0 to 65,535 (integers); beyond those, from the least to the greatest.
    """
    if image.mode.startswith("I;16"):
        return 0, 65_535
    low, high = math.inf, -math.inf
    for _, samples in _strips(image):
        finite = samples[np.isfinite(samples)]
        low, high = finite.min(initial=low), finite.max(initial=high)
    for white in (1, 255) if image.mode == "F" else (255, 65_535):
        if low >= 0 and high <= white:  # also where no sample is finite
            return 0, white
    return low, max(high, low + 1)


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (top row, float64 samples of 64 rows): the whole at once would take 8 bytes a pixel more."""
    for top in range(0, image.height, _STRIP_PX):
        strip = image.crop((0, top, image.width, min(top + _STRIP_PX, image.height)))
        yield top, np.asarray(strip, dtype=np.float64)
