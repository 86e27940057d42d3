"""What captions files of every form share: their text, and how names, captions and splits become photos."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from training.errors import CaptionsError
from training.photos import CaptionedPhoto, FileSource, PhotoSource

_SPLITS = {
    "train": "train", "restval": "train",
    "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev",
    "test": "test",
}  # fmt: skip


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text, without its byte order mark.

    Raises:
        CaptionsError: it cannot be read, or a line (named) is not UTF-8.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CaptionsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise CaptionsError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from error


def clean_name(name: str, where: str) -> str:
    """Return a photo's name as it is; CaptionsError if no file can have it."""
    if not name or "\0" in name or not _is_unicode(name):
        raise CaptionsError(f"{where}: no name for a photo: {name[:80]!r}")
    return name


def clean_captions(captions: object, where: str) -> tuple[str, ...]:
    """Return one caption or a list of them, without white space at their ends.

    Raises:
        CaptionsError: there is none, or one is empty or no text.
    """
    if isinstance(captions, str):
        return (_clean_caption(captions, where),)
    if not isinstance(captions, list) or not captions:
        raise CaptionsError(f"{where}: no caption, nor a list of captions: {str(captions)[:80]!r}")
    return tuple(_clean_caption(caption, f"{where}[{number}]") for number, caption in enumerate(captions))


def clean_split(split: object, where: str) -> str | None:
    """Return train, dev or test for a split as captions files call it; None for None.

    Raises:
        CaptionsError: it is called something else.
    """
    if split is None:
        return None
    if not isinstance(split, str) or split.lower() not in _SPLITS:
        raise CaptionsError(
            f"{where}: no split that we know: {str(split)[:80]!r}; one of {', '.join(_SPLITS)}"
        )
    return _SPLITS[split.lower()]


def source_below(images: Path | None, name: str, where: str) -> FileSource:
    """Return where a photo lies that a captions file names; whether it is there is for check_photos to say.

    Raises:
        CaptionsError: no folder was given, or the name leads out of it.
    """
    if images is None:
        raise CaptionsError(f"{where}: photos by name; say in which folder they lie (images)")
    inside = name.replace("\\", "/")
    if inside.startswith("/") or ".." in inside.split("/") or PureWindowsPath(name).drive:
        raise CaptionsError(f"{where}: {name[:80]!r} leads out of the folder of photos; name it from there")
    return FileSource(images / name)


def gather_photos(found: Iterable[tuple[str, CaptionedPhoto]]) -> list[CaptionedPhoto]:
    """Return photos under unique names, the captions of one named more than once together, all in order.

    Args:
        found: where it stands (for messages), and the photo with the captions that stand there.

    Raises:
        CaptionsError: one name, but different pictures or different splits.
    """
    photos: dict[str, CaptionedPhoto] = {}
    captions: dict[str, list[str]] = {}
    for where, photo in found:
        first = photos.setdefault(photo.name, photo)
        if first.split != photo.split:
            raise CaptionsError(
                f"{where}: {photo.name!r} is for {photo.split or 'no split'} here,"
                f" for {first.split or 'no split'} before"
            )
        if first.source != photo.source and not _same_bytes(first.source, photo.source, where):
            raise CaptionsError(f"{where}: {photo.name!r} was another picture before; names must be unique")
        captions.setdefault(photo.name, []).extend(photo.captions)
    return [replace(photo, captions=tuple(captions[name])) for name, photo in photos.items()]


def _clean_caption(caption: object, where: str) -> str:
    if not isinstance(caption, str) or not _is_unicode(caption):
        raise CaptionsError(f"{where}: the caption is no text: {str(caption)[:80]!r}")
    if not caption.strip():
        raise CaptionsError(f"{where}: the caption is empty")
    return caption.strip()


def _is_unicode(text: str) -> bool:
    """Return whether UTF-8 can hold it: JSON and tar files may bring halves of surrogate pairs."""
    return text.encode(errors="ignore").decode() == text


def _same_bytes(first: PhotoSource, second: PhotoSource, where: str) -> bool:
    try:
        return first.read() == second.read()
    except OSError as error:
        raise CaptionsError(f"{where}: {error}") from error
