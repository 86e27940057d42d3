"""What lies in a folder: the pictures, found by their names, in order."""

import os
from collections.abc import Iterator
from pathlib import Path

from app.index_report import Failure

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
MAX_URI_BYTES = 2000
"""An index entry of PostgreSQL takes 2,700 bytes, and the collection's name is in it too."""


def find_pictures(path: Path, root: Path) -> tuple[list[str], list[Failure]]:
    """Return the uris of the pictures below a folder, sorted, and what could not be looked at.

    A uri is the path below root with "/" between its parts. Hidden files and folders are skipped, and so are
    links to folders (what they show is either found anyway or outside) and links to files outside root.

    Args:
        path: a folder, or one file, which is taken whatever its name; resolved, and below root.
        root: the collection's root, resolved.
    """
    uris: list[str] = []
    failures: list[Failure] = []
    for found in _walk(path, root, failures) if path.is_dir() else [path]:
        uri = found.relative_to(root).as_posix()
        try:
            size_bytes = len(uri.encode())
        except UnicodeEncodeError:
            shown = os.fsencode(found).decode(errors="replace")
            failures.append(Failure(shown, f"{shown}: the name is not UTF-8; rename the file"))
            continue
        if size_bytes > MAX_URI_BYTES:
            failures.append(Failure(str(found), f"{uri}: the path is longer than {MAX_URI_BYTES} bytes"))
        else:
            uris.append(uri)
    return uris, failures


def _walk(folder: Path, root: Path, failures: list[Failure]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        shown = os.fsencode(folder).decode(errors="replace")
        failures.append(Failure(shown, f"{shown}: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        found = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(found, root, failures)
        elif found.suffix.lower() in SUFFIXES and _is_ours(found, entry, root):
            yield found


def _is_ours(found: Path, entry: os.DirEntry[str], root: Path) -> bool:
    """Say whether it is a file, or a link to one below root; a link to nowhere fails when it is read."""
    if not entry.is_symlink():
        return entry.is_file()
    try:
        target = found.resolve()
    except (OSError, RuntimeError):  # a link to itself: RuntimeError before Python 3.13
        return True
    return target.is_relative_to(root) and (target.is_file() or not target.exists())
