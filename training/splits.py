"""Which photos train and which judge: splits, photos that cannot be used, and duplicates across splits."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedding.errors import ImageError
from embedding.images import decode_image, perceptual_hash
from training.captions_files import read_text
from training.errors import CaptionsError, SplitError
from training.photos import CaptionedPhoto

HASHED_PX = 1024
"""Shorter side of the pictures that are hashed; as the gallery's, so that the hashes are."""
NEAR_BITS = 4
"""Perceptual hashes that differ in so many of their 64 bits, or fewer, are of near duplicates."""
ROWS_AT_ONCE = 1024  # bounds memory: one block of distances is 1024 x the other split, 9 bytes each
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Splits:
    """Photos for training and for judging it; none is in two."""

    train: tuple[CaptionedPhoto, ...]
    """At least one."""
    dev: tuple[CaptionedPhoto, ...]
    """At least one."""
    test: tuple[CaptionedPhoto, ...] = ()

    def __post_init__(self) -> None:
        """Refuse splits that no training can use.

        Raises:
            SplitError: train or dev is empty, or a name stands twice.
        """
        if not self.train or not self.dev:
            raise SplitError(f"no photo is left for {'dev' if self.train else 'training'}")
        names = [photo.name for photo in (*self.train, *self.dev, *self.test)]
        if twice := _repeated(names):
            raise SplitError(f"the splits name a photo twice: {_first_few(twice)}")


@dataclass(frozen=True, slots=True)
class CheckedPhoto:
    """A photo that decodes, and what to know it again by."""

    photo: CaptionedPhoto
    sha256: str
    """Of its file's bytes, in hexadecimal."""
    perceptual_hash: int
    """As embedding.images.perceptual_hash gives it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Photos that were read and decoded, and those that could not be."""

    usable: tuple[CheckedPhoto, ...]
    failed: list[tuple[str, str]]
    """Name and reason."""

    @property
    def photos(self) -> tuple[CaptionedPhoto, ...]:
        """The usable photos themselves."""
        return tuple(checked.photo for checked in self.usable)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two photos of different splits that show the same."""

    name: str
    split: str
    """train or dev, the earlier of the two."""
    other_name: str
    other_split: str
    """dev or test."""
    distance: int
    """Bits in which their perceptual hashes differ."""
    is_exact: bool
    """Their files are the same to the byte."""


def split_by_lists(
    photos: Sequence[CaptionedPhoto], train: Path | None, dev: Path, test: Path | None = None
) -> Splits:
    """Return photos as lists split them, each list naming one photo a line; in the order of the photos.

    Without a list for training, all that is in no list trains; with one, what is in no list is left out.

    Raises:
        SplitError: a list cannot be read, is empty, or names a photo without captions, or one that is in
            another list.
    """
    known = {photo.name for photo in photos}
    lists = {"train": train, "dev": dev, "test": test}
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        if path is None:
            continue
        names = _read_list(path)
        if strangers := [name for name in names if name not in known]:
            raise SplitError(f"{path}: {len(strangers):,} names have no captions: {_first_few(strangers)}")
        if shared := [name for name in names if name in split_of]:
            other = lists[split_of[shared[0]]]
            raise SplitError(f"{path}: {len(shared):,} names are in {other}, too: {_first_few(shared)}")
        split_of.update(dict.fromkeys(names, split))
    if train is None:
        return _split(photos, lambda photo: split_of.get(photo.name, "train"))
    return _split(photos, lambda photo: split_of.get(photo.name))


def split_as_given(photos: Sequence[CaptionedPhoto]) -> Splits:
    """Return photos as their captions file splits them.

    Raises:
        SplitError: it does not say for some photo, or leaves train or dev empty.
    """
    if unsaid := [photo.name for photo in photos if photo.split is None]:
        raise SplitError(
            f"{len(unsaid):,} of {len(photos):,} photos have no split in the captions file:"
            f" {_first_few(unsaid)}"
        )
    return _split(photos, lambda photo: photo.split)


def split_at_random(photos: Sequence[CaptionedPhoto], dev_share: float = 0.1, seed: int = 0) -> Splits:
    """Return photos with about that share of them for dev, at least one on either side, and none for test.

    A photo's side follows from seed and name alone: other photos and their order change nothing, but where no
    name, or each, falls to dev, and the nearest must change sides.

    Raises:
        ValueError: dev_share does not lie between 0 and 1.
        SplitError: fewer than two photos.
    """
    if not 0 < dev_share < 1:
        raise ValueError(f"dev_share is {dev_share}; it must lie between 0 and 1")
    if len(photos) < 2:
        raise SplitError(f"{len(photos)} photos cannot be split; it takes two")
    place = {photo.name: _place(seed, photo.name) for photo in photos}
    lowest, highest = min(place, key=place.__getitem__), max(place, key=place.__getitem__)

    def is_dev(name: str) -> bool:
        return name == lowest or (place[name] < dev_share and name != highest)

    return _split(photos, lambda photo: "dev" if is_dev(photo.name) else "train")


def check_photos(photos: Sequence[CaptionedPhoto], *, max_workers: int | None = None) -> Checked:
    """Read and decode every photo once, in threads; one that fails is named, and costs the others nothing.

    Args:
        photos: of one split, or all.
        max_workers: threads, each with a decoded photo in memory; None is one for each core.
    """
    with ThreadPoolExecutor(max_workers or os.cpu_count(), thread_name_prefix="check") as threads:
        outcomes = list(threads.map(_check, photos))
    return Checked(
        usable=tuple(outcome for outcome in outcomes if isinstance(outcome, CheckedPhoto)),
        failed=[outcome for outcome in outcomes if isinstance(outcome, tuple)],
    )


def find_duplicates(checked: Mapping[str, Checked]) -> list[Duplicate]:
    """Return pairs of photos that show the same but are in different splits: exact ones, then near ones.

    Near ones are at most NEAR_BITS apart. A hash that is as near to that of a flat picture or of a smooth
    gradient says little of what is shown, so there only exact duplicates count.

    Args:
        checked: what check_photos made of each split, by the split's name; train first.
    """
    pairs = [
        Duplicate(
            name=one.photo.name,
            split=split,
            other_name=other.photo.name,
            other_split=other_split,
            distance=_distance(one, other),
            is_exact=one.sha256 == other.sha256,
        )
        for split, other_split in combinations(checked, 2)
        for one, other in _alike(checked[split].usable, checked[other_split].usable)
    ]
    return sorted(pairs, key=lambda pair: not pair.is_exact)


def without_duplicates(splits: Splits, duplicates: Sequence[Duplicate]) -> Splits:
    """Return the splits without the training photos that have a duplicate in dev or test.

    Duplicates between dev and test stay: they are yardsticks, and others measure by the same ones.

    Raises:
        SplitError: no photo is left for training.
    """
    dropped = {name for pair in duplicates for name in (pair.name, pair.other_name)}
    train = tuple(photo for photo in splits.train if photo.name not in dropped)
    return Splits(train, splits.dev, splits.test)


def _split(photos: Sequence[CaptionedPhoto], side: Callable[[CaptionedPhoto], str | None]) -> Splits:
    sides: dict[str | None, list[CaptionedPhoto]] = {"train": [], "dev": [], "test": [], None: []}
    for photo in photos:
        sides[side(photo)].append(photo)
    return Splits(tuple(sides["train"]), tuple(sides["dev"]), tuple(sides["test"]))


def _read_list(path: Path) -> list[str]:
    """Return the names in a list, each once."""
    try:
        lines = read_text(path).split("\n")
    except CaptionsError as error:
        raise SplitError(str(error)) from error
    names = list(dict.fromkeys(name for line in lines if (name := line.strip())))
    if not names:
        raise SplitError(f"{path}: names no photo")
    return names


def _place(seed: int, name: str) -> float:
    """Return where in [0, 1) a seed puts a name, evenly."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _check(photo: CaptionedPhoto) -> CheckedPhoto | tuple[str, str]:
    """Return a photo's fingerprints, or its name and what is wrong with it."""
    try:
        content = photo.source.read()
        image = decode_image(content, name=photo.name, enough_px=HASHED_PX)
    except OSError as error:
        return photo.name, error.strerror or str(error)
    except ImageError as error:
        return photo.name, str(error).removeprefix(f"{photo.name}: ")
    return CheckedPhoto(photo, hashlib.sha256(content).hexdigest(), perceptual_hash(image))


def _alike(
    ones: Sequence[CheckedPhoto], others: Sequence[CheckedPhoto]
) -> Iterator[tuple[CheckedPhoto, CheckedPhoto]]:
    """Yield exact and near duplicates, a block of rows of the distances at a time."""
    others_by_file: dict[str, list[CheckedPhoto]] = defaultdict(list)
    for other in others:
        others_by_file[other.sha256].append(other)
    for one in ones:
        for other in others_by_file.get(one.sha256, []):
            yield one, other
    detailed_ones, detailed_others = _detailed(ones), _detailed(others)
    hashes, other_hashes = _hashes(detailed_ones), _hashes(detailed_others)
    for start in range(0, len(hashes), ROWS_AT_ONCE):
        block = hashes[start : start + ROWS_AT_ONCE, None] ^ other_hashes  # uint64 (rows, others)
        for row, column in np.argwhere(np.bitwise_count(block) <= NEAR_BITS):
            one, other = detailed_ones[start + row], detailed_others[column]
            if one.sha256 != other.sha256:
                yield one, other


def _distance(one: CheckedPhoto, other: CheckedPhoto) -> int:
    return ((one.perceptual_hash ^ other.perceptual_hash) & (2**64 - 1)).bit_count()  # the hashes are signed


def _detailed(photos: Sequence[CheckedPhoto]) -> list[CheckedPhoto]:
    bits = np.bitwise_count(_hashes(photos))  # uint8 (n,)
    return [
        photo for photo, set_bits in zip(photos, bits, strict=True) if NEAR_BITS < set_bits < 64 - NEAR_BITS
    ]


def _hashes(photos: Sequence[CheckedPhoto]) -> NDArray[np.uint64]:
    return np.array([photo.perceptual_hash for photo in photos], np.int64).view(np.uint64)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _first_few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown}, …" if len(names) > NAMES_SHOWN else shown
