"""A folder of files that cost minutes to make and nothing to make again: kept whole, or not at all.

Whoever wants the folder gets it checked byte for byte; one that is damaged, cut short or made by other
versions is made anew. It appears by one rename, so that nobody ever sees half of it.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock

from fasteners import InterProcessLock

_MANIFEST = "manifest.json"
_MAKING = Lock()  # the other lock is between processes alone


def kept_or_made(folder: Path, *, made_by: Mapping[str, str], make: Callable[[Path], None]) -> Path:
    """Return the folder with its files whole, by calling make with an empty folder if need be.

    Several processes may ask at once: one makes, the others wait for it.

    Args:
        folder: where the files are, or will be.
        made_by: what the files depend on besides the folder's name: the versions that made them.
        make: writes the files; what it raises passes through, and nothing is left behind.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _is_whole(folder, made_by):
        return folder
    with _MAKING, InterProcessLock(folder.with_name(f".{folder.name}.lock")):
        if _is_whole(folder, made_by):  # somebody else has made it meanwhile
            return folder
        for abandoned in folder.parent.glob(f".{folder.name}-*"):  # by a process that was killed
            shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            fresh, stale = Path(temporary, "fresh"), Path(temporary, "stale")
            fresh.mkdir()
            make(fresh)
            manifest = {"made_by": dict(made_by), "sha256": _digests(fresh)}
            (fresh / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            if folder.exists():
                folder.rename(stale)
            fresh.rename(folder)
    return folder


def _is_whole(folder: Path, made_by: Mapping[str, str]) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest == {"made_by": dict(made_by), "sha256": _digests(folder)})


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.iterdir()):
        if path.name != _MANIFEST:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
