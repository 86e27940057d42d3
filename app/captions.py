"""Captions on their way into the gallery: made fit to be stored, and matched to their pictures."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import UploadRefusedError
from app.index_report import Failure
from db.gallery import Caption

MAX_CAPTIONS = 32_767
"""Captions of a picture: position is a smallint."""
MAX_CAPTION_CHARS = 100_000
"""A tsvector holds a megabyte, and each word is in it twice, as typed and without accents."""


@dataclass(frozen=True, slots=True)
class MatchedCaptions:
    """What a captions file says about the pictures of a run."""

    by_uri: dict[str, list[Caption]] = field(default_factory=dict)
    without_picture: list[str] = field(default_factory=list)
    """Names in the captions file that no picture of the run answers to."""
    failed: list[Failure] = field(default_factory=list)


def clean_captions(captions: Iterable[Caption], *, name: str) -> list[Caption]:
    """Return captions as they are stored: what is no character is taken out, blank ones are left out.

    Raises:
        UploadRefusedError: more than MAX_CAPTIONS, or one longer than MAX_CAPTION_CHARS.
    """
    cleaned = [
        Caption(body, caption.language) for caption in captions if (body := _characters_only(caption.body))
    ]
    if len(cleaned) > MAX_CAPTIONS:
        raise UploadRefusedError(f"{name}: {len(cleaned):,} captions; a picture has at most {MAX_CAPTIONS:,}")
    longest = max((len(caption.body) for caption in cleaned), default=0)
    if longest > MAX_CAPTION_CHARS:
        raise UploadRefusedError(
            f"{name}: a caption of {longest:,} characters; the most is {MAX_CAPTION_CHARS:,}"
        )
    return cleaned


def match_captions(
    captions: Mapping[str, Sequence[str]], uris: Sequence[str], *, path: Path, root: Path
) -> MatchedCaptions:
    """Find each picture's captions: those under the longest end of its path that the captions file names.

    Of /photos/sea/1.jpg that is its whole path, photos/sea/1.jpg, sea/1.jpg, or 1.jpg. So a bare name speaks
    for every picture of that name, in whatever folder, unless one lies directly in the folder indexed.

    Args:
        captions: bodies by picture name, as training.captions reads them.
        uris: the pictures of the run, below root.
        path: the folder that is indexed (or one file).
        root: its collection's root.
    """
    if not captions:
        return MatchedCaptions()
    bodies: dict[str, list[str]] = {}
    for name, said in captions.items():
        bodies.setdefault(_normal(name), []).extend(said)
    folder = _normal((path if path.is_dir() else path.parent).as_posix())
    whole = {uri: _normal((root / uri).as_posix()) for uri in uris}
    exact = {end for place in whole.values() if (end := place.removeprefix(f"{folder}/")) in bodies}
    matched = MatchedCaptions()
    used: set[str] = set()
    for uri, place in whole.items():
        below_folder = place.removeprefix(f"{folder}/")
        for end in _ends(place):
            if end not in bodies or (end in exact and end != below_folder):
                continue
            used.add(end)
            try:
                if cleaned := clean_captions(map(Caption, bodies[end]), name=uri):
                    matched.by_uri[uri] = cleaned
            except UploadRefusedError as error:
                matched.failed.append(Failure(str(root / uri), str(error)))
            break
    matched.without_picture.extend(name for name in bodies if name not in used)
    return matched


def _ends(place: str) -> Iterable[str]:
    """Yield /photos/sea/1.jpg, photos/sea/1.jpg, sea/1.jpg, 1.jpg."""
    yield place
    while "/" in place:
        place = place.partition("/")[2]
        yield place


def _normal(name: str) -> str:
    """Return a path as it is compared: macOS decomposes accents in file names, Windows writes backslashes."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _characters_only(body: str) -> str:
    """Leave out NUL, which PostgreSQL cannot hold, and halves of surrogate pairs, which no UTF-8 has."""
    return body.replace("\0", "").encode(errors="ignore").decode().strip()
