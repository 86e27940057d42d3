"""Captions files, in the forms in which people have them; the text forms are read here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from training.captions_files import clean_captions, clean_name, gather_photos, read_text, source_below
from training.captions_json import load_json_captions
from training.errors import CaptionsError
from training.photos import CaptionedPhoto

HEADER_NAMES = frozenset({"image", "image_name", "filename", "file_name"})

NUMBERED = re.compile(r"(?P<image>[^,\t]+)#\d+\t(?P<caption>.*)", re.DOTALL)  # name.jpg#0<TAB>caption
COMMA_SEPARATED = re.compile(r'(?P<image>"(?:[^"]|"")*"|[^,]*),(?P<caption>.*)', re.DOTALL)
PIPE_SEPARATED = re.compile(r"(?P<image>[^|]+)\|\s*(?:\d+|\w*number)\s*\|(?P<caption>.*)", re.DOTALL)
QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
LIKE_JSON = re.compile(r'\s*[\[{]\s*(?:[\[{"].*)?', re.DOTALL)
PATTERN = re.compile(r"[*?\[{]")


def load_captioned_photos(captions: Path, images: Path | None = None) -> list[CaptionedPhoto]:
    """Return the photos that a captions file tells of, whatever its form, under unique names.

    The forms: Flickr8k's and Flickr30k's text; COCO's and Karpathy's JSON; webdataset's .tar shards (one, a
    pattern with * or {000..010}, or a folder of them); parquet (a file, or a folder of them). Photos are left
    unread: that one is missing is for check_photos to find.

    Args:
        captions: the file, the folder, or the pattern.
        images: the folder that the names in a text or JSON file start from, and paths in a parquet file.

    Raises:
        CaptionsError: it cannot be read, or is of no known form; or a line, row or object (named) is
            malformed, or names a photo outside images; or it holds no captions.
    """
    photos = _load_any_form(captions, images)
    if not photos:
        raise CaptionsError(f"{captions}: holds no captions")
    return photos


def load_flickr8k_captions(path: Path) -> dict[str, list[str]]:
    """Return each image name's captions, both in the order of the file.

    Reads `image,caption` lines, with or without that header, and Flickr8k's own `image#number<TAB>caption`.
    Only the first comma separates, since captions hold commas. CSV quotes are undone; white space at the ends
    of a caption is dropped; blank lines, CRLF and a byte order mark are ignored.

    Raises:
        CaptionsError: the file cannot be read, is not UTF-8, or a line (named) holds no image or no caption.
    """
    captions: dict[str, list[str]] = {}
    for _, image, caption in _flickr8k_rows(path):
        captions.setdefault(image, []).append(caption)
    return captions


def load_flickr30k_captions(path: Path, images: Path) -> list[CaptionedPhoto]:
    """Return the photos of Flickr30k's `image_name| comment_number| comment` lines, with that header or not.

    Only the first two pipes separate; the rest is as in load_flickr8k_captions.

    Raises:
        CaptionsError: as load_flickr8k_captions. Flickr30k's own file has such a line: 2199200615.jpg's fifth
            lacks its second pipe.
    """
    return _photos_below(images, path, _flickr30k_rows(path))


def _load_any_form(captions: Path, images: Path | None) -> list[CaptionedPhoto]:
    # Imported where they are needed: their libraries come with the extra "training", and one takes seconds.
    form = _form(captions)
    if form == ".tar":
        from training.captions_webdataset import load_webdataset

        return load_webdataset(captions)
    if form == ".parquet":
        from training.captions_parquet import load_parquet

        return load_parquet(captions, images)
    if images is None:
        raise CaptionsError(f"{captions}: names photos; say in which folder they lie (images)")
    if form == ".json":
        return load_json_captions(captions, images)
    first = next((line for _, line in _lines(captions)), "")
    if LIKE_JSON.fullmatch(first):  # its commas would pass for those between an image and a caption
        raise CaptionsError(f"{captions}: looks like JSON; COCO's and Karpathy's are read from .json files")
    if PIPE_SEPARATED.fullmatch(first) and "," not in first.split("|")[0]:
        return load_flickr30k_captions(captions, images)
    return _photos_below(images, captions, _flickr8k_rows(captions))


def _form(captions: Path) -> str:
    """Return .tar, .parquet or .json; anything else is text."""
    suffix = captions.suffix.lower()
    if not captions.is_dir():
        is_pattern = PATTERN.search(str(captions)) and suffix != ".parquet" and not captions.exists()
        return ".tar" if is_pattern else suffix
    held = [form for form in (".tar", ".parquet") if any(captions.rglob(f"*{form}"))]
    if len(held) != 1:
        what = "both .tar and .parquet files" if held else "no .tar and no .parquet file"
        raise CaptionsError(f"{captions}: a folder that holds {what}; name the captions file")
    return held[0]


def _photos_below(images: Path, path: Path, rows: Iterable[tuple[int, str, str]]) -> list[CaptionedPhoto]:
    return gather_photos(
        (
            where := f"{path}, line {number}",
            CaptionedPhoto(
                clean_name(image, where), clean_captions(caption, where), source_below(images, image, where)
            ),
        )
        for number, image, caption in rows
    )


def _flickr8k_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    return _rows(path, (NUMBERED, COMMA_SEPARATED), "no comma between an image and a caption")


def _flickr30k_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    return _rows(path, (PIPE_SEPARATED,), "no pipes around a number, between an image and a caption")


def _rows(path: Path, forms: Sequence[re.Pattern[str]], otherwise: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, image and caption of lines of one of the forms; a header is left out."""
    may_be_header = True
    for number, line in _lines(path):
        match = next((match for form in forms if (match := form.fullmatch(line))), None)
        if match is None:
            raise CaptionsError(f"{path}, line {number}: {otherwise}: {line[:80]!r}")
        image, caption = (_unquoted(match[field].strip()) for field in ("image", "caption"))
        if may_be_header and image.lower() in HEADER_NAMES:
            continue
        may_be_header = False
        if not image or not caption:
            raise CaptionsError(f"{path}, line {number}: the {'caption' if image else 'image'} is empty")
        yield number, image, caption


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, and their numbers."""
    # Not splitlines(): it also breaks at U+2028 and other characters that a caption may hold.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def _unquoted(field: str) -> str:
    """Undo CSV quotes; a field that merely begins or ends with a quotation mark is left as it is."""
    match = QUOTED.fullmatch(field)
    return match[1].replace('""', '"').strip() if match else field
