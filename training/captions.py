"""Captions files, in the forms in which people have them."""

import re
from pathlib import Path

from training.errors import CaptionsError

HEADER_NAMES = frozenset({"image", "image_name", "filename", "file_name"})

NUMBERED = re.compile(r"(?P<image>[^,\t]+)#\d+\t(?P<caption>.*)", re.DOTALL)  # name.jpg#0<TAB>caption
COMMA_SEPARATED = re.compile(r'(?P<image>"(?:[^"]|"")*"|[^,]*),(?P<caption>.*)', re.DOTALL)
QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


def load_flickr8k_captions(path: Path) -> dict[str, list[str]]:
    """Return each image name's captions, both in the order of the file.

    Reads `image,caption` lines, with or without that header, and Flickr8k's own `image#number<TAB>caption`.
    Only the first comma separates, since captions hold commas. CSV quotes are undone; white space at the ends
    of a caption is dropped; blank lines, CRLF and a byte order mark are ignored.

    Raises:
        CaptionsError: the file cannot be read, is not UTF-8, or a line (named) holds no image or no caption.
    """
    captions: dict[str, list[str]] = {}
    # Not splitlines(): it also breaks at U+2028 and other characters that a caption may hold.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        match = NUMBERED.fullmatch(line) or COMMA_SEPARATED.fullmatch(line)
        if match is None:
            raise CaptionsError(
                f"{path}, line {number}: no comma between an image and a caption: {line[:80]!r}"
            )
        image, caption = (_unquoted(match[field].strip()) for field in ("image", "caption"))
        if not captions and image.lower() in HEADER_NAMES:
            continue
        if not image or not caption:
            raise CaptionsError(f"{path}, line {number}: the {'caption' if image else 'image'} is empty")
        captions.setdefault(image, []).append(caption)
    return captions


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CaptionsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise CaptionsError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from error


def _unquoted(field: str) -> str:
    """Undo CSV quotes; a field that merely begins or ends with a quotation mark is left as it is."""
    match = QUOTED.fullmatch(field)
    return match[1].replace('""', '"').strip() if match else field
