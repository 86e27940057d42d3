"""What a picture would cost to decode, read from its header before anything is decoded.

Pillow's own bomb check is neither relied on nor touched: it lets 89 megapixels pass in silence, only warns
up to 179, has one limit for the whole process, and another library may have switched it off.
"""

import re

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from embedding.errors import ImageTooLargeError, UnreadableImageError

MAX_PIXELS = 50_000_000
"""The default budget: the 48 and 50 megapixels of today's telephones, and no more."""
MAX_SIDE_PX = 16_384
"""Room for a 200-megapixel telephone's 16,320 and for the widest panoramas; a row stays under 64 KiB."""

# Pillow decodes WebP through two RGBA canvases of libwebp, a copy and the picture: 16 bytes a pixel where the
# other formats need 4 to 8, so a WebP may have half the pixels.
_WEBP_SHARE = 2
# Each scan of a JPEG visits every block again, and an empty one takes 75 bytes: 200 of them on a 50-megapixel
# picture took 10 s. Encoders write 1 to 12; a picture of half the budget may have 50, and so on.
_MAX_SCANS = 25
# Where a header goes on for longer than this, it is not a picture's: the walks below are Python loops.
_MAX_GIF_HEADER_BYTES = 1 << 20
_MAX_JPEG_SEGMENTS = 10_000
# Byte stuffing (00), restarts (D0-D7), fill bytes (FF) and TEM (01) carry no length and start no segment.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def check_before_opening(plugin: type[ImageFile], data: bytes, *, name: str, max_pixels: int) -> None:
    """Refuse the formats whose decoders fill memory on opening: a WebP's canvas and a GIF's first frame.

    Raises:
        ImageTooLargeError: more pixels than the budget, or a side longer than MAX_SIDE_PX.
        IndexError: the header is cut short.
        SyntaxError: the header is no WebP header.
    """
    if plugin is WebPImageFile:
        _check_size(_webp_canvas(data), name=name, max_pixels=max_pixels // _WEBP_SHARE)
    elif plugin is GifImageFile:
        _check_size(_gif_extent(data), name=name, max_pixels=max_pixels)


def check_before_decoding(image: ImageFile, data: bytes, *, name: str, max_pixels: int) -> None:
    """Refuse an opened, not yet decoded picture that would cost too much memory or time.

    Raises:
        ImageTooLargeError: more pixels than the budget, a side over MAX_SIDE_PX, too many scans for its size.
        UnreadableImageError: a run-length encoded BMP.
        SyntaxError: a JPEG of too many segments.
    """
    width, height = image.size
    if isinstance(image, TiffImageFile):
        # A tile is decoded whole: 1 × 1 pixels in a tile of 16,384 × 16,384 took 800 MB.
        width = max(width, image.tag_v2.get(TILEWIDTH, 1))
        height = max(height, image.tag_v2.get(TILELENGTH, 1))
    _check_size((width, height), name=name, max_pixels=max_pixels)
    if isinstance(image, BmpImageFile) and image.info["compression"] in (1, 2):
        # Pillow's decoder for these is a Python loop: 12 MB took 2 s of everybody's interpreter lock.
        raise UnreadableImageError(f"{name}: run-length encoded BMPs are not read; convert it to PNG")
    if isinstance(image, JpegImageFile) and image.fp is not None:
        scans = _count_scans(data, image.fp.tell())
        if scans * width * height > _MAX_SCANS * max_pixels:
            raise ImageTooLargeError(
                f"{name}: {scans:,} scans over {width:,} × {height:,} pixels take too long to decode"
            )


def _check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > MAX_SIDE_PX:
        raise ImageTooLargeError(
            f"{name}: {width:,} × {height:,} pixels; at most {max_pixels:,} pixels"
            f" and {MAX_SIDE_PX:,} to a side are decoded"
        )


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Return width and height from a WebP's first chunk. Source: RFC 9649, sections 2.5 to 2.7."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if chunk == b"VP8L":
        sides = _little(data, 21, 4)
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    raise SyntaxError("no WebP picture in its first chunk")


def _gif_extent(data: bytes) -> tuple[int, int]:
    """Return the size of a GIF's screen, grown to hold its first frame. Source: GIF89a, sections 18 to 24."""
    width, height, flags = _little(data, 6, 2), _little(data, 8, 2), data[10]
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    header = data[: position + _MAX_GIF_HEADER_BYTES]
    while header[position] != 0x2C:  # the image descriptor
        if header[position] == 0x21:  # an extension: its label, sub-blocks, an empty one last
            position += 2
            while header[position]:
                position += 1 + header[position]
        position += 1  # anything else is skipped a byte at a time, as Pillow does
    left, top, frame_width, frame_height = (_little(data, position + offset, 2) for offset in (1, 3, 5, 7))
    return max(width, left + frame_width), max(height, top + frame_height)


def _count_scans(data: bytes, start: int) -> int:
    """Count a JPEG's scans up to its end marker; start is where the first scan's bytes begin."""
    scans = 1
    position = start
    for _ in range(_MAX_JPEG_SEGMENTS):
        marker = _JPEG_MARKER.search(data, position)
        if marker is None or marker[0] == b"\xff\xd9":
            return scans
        scans += marker[0] == b"\xff\xda"
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise SyntaxError(f"more than {_MAX_JPEG_SEGMENTS:,} segments")


def _little(data: bytes, start: int, length: int) -> int:
    if len(data) < start + length:
        raise IndexError("the header is cut short")
    return int.from_bytes(data[start : start + length], "little")
