"""Which photos and captions make up each batch: pure functions of the seed, the epoch and the step.

So a run that was stopped asks for the next step and gets what it would have got, bit for bit, and several
processes agree on every batch without a word between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

# What a stream of random numbers decides; seeds of one run that differ in it share nothing.
_ORDER_OF_PHOTOS, _ORDER_OF_PAIRS, _CHOICE_OF_CAPTIONS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class UniquePhotoBatches:
    """Batches of photos in which no photo is its own negative: each comes at most once an epoch.

    The caption, or captions, that go with a photo are epoch_captions' choice.
    """

    n_photos: int
    batch_size: int
    """Photos in a global batch."""
    seed: int
    drop_last: bool
    """Leave out the photos that make no whole batch (others each epoch), or give them as a shorter one."""
    world_size: int = 1
    """Processes that share each batch; each must get as many photos."""
    rank: int = 0
    """This process's number, from 0."""

    def __post_init__(self) -> None:
        _check(self.n_photos, self.batch_size, self.drop_last, self.world_size, self.rank, what="photos")

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return _steps(self.n_photos, self.batch_size, self.drop_last)

    def batch(self, epoch: int, step: int) -> Integers:
        """Return int64 (batch_size / world_size,): this rank's photos, distinct also from other ranks'.

        Rank r's share is the r-th of world_size equal slices of the global batch.

        Raises:
            IndexError: an epoch has fewer steps.
        """
        _check_step(step, len(self))
        order = _shuffled(self.n_photos, _ORDER_OF_PHOTOS, self.seed, epoch)
        batch = order[step * self.batch_size : (step + 1) * self.batch_size]
        return _share(batch, self.world_size, self.rank)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Integers]:
        """Yield an epoch's batches, from a step on."""
        return (self.batch(epoch, step) for step in range(first_step, len(self)))


class PlainPairBatches:
    """Batches of (photo, caption) pairs: every caption of every photo once an epoch, shuffled.

    As in the report, and most tutorials: the same photo may come twice in a batch with two captions, each
    then a negative of the other though both are right. false_negative_rows counts them.
    """

    def __init__(
        self,
        captions_per_photo: Sequence[int],
        batch_size: int,
        seed: int,
        *,
        drop_last: bool = False,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        """Take how many captions each photo has; the rest is as in UniquePhotoBatches."""
        counts = _counted(captions_per_photo)
        photos = np.repeat(np.arange(len(counts)), counts)
        captions = np.arange(len(photos)) - np.repeat(np.cumsum(counts) - counts, counts)
        _check(len(photos), batch_size, drop_last, world_size, rank, what="pairs")
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.world_size = world_size
        self.rank = rank
        self._pairs = np.column_stack([photos, captions])  # int64 (pairs, 2)

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return _steps(len(self._pairs), self.batch_size, self.drop_last)

    def batch(self, epoch: int, step: int) -> Integers:
        """Return int64 (batch_size / world_size, 2): photo, and which of its captions; this rank's slice.

        Raises:
            IndexError: an epoch has fewer steps.
        """
        _check_step(step, len(self))
        order = _shuffled(len(self._pairs), _ORDER_OF_PAIRS, self.seed, epoch)
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        return self._pairs[_share(rows, self.world_size, self.rank)]

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Integers]:
        """Yield an epoch's batches, from a step on."""
        return (self.batch(epoch, step) for step in range(first_step, len(self)))


def epoch_captions(
    captions_per_photo: Sequence[int], texts_per_photo: int, epoch: int, seed: int
) -> Integers:
    """Return int64 (photos, texts_per_photo): which captions of each photo an epoch reads, at random.

    A photo's captions are distinct if it has enough; if not, all of them come, as evenly often as can be.

    Args:
        captions_per_photo: how many each photo has, at least one.
        texts_per_photo: how many to choose.
        epoch: another epoch, another choice.
        seed: the run's.
    """
    counts = _counted(captions_per_photo)
    if texts_per_photo < 1:
        raise ValueError(f"texts_per_photo starts at 1, not {texts_per_photo}")
    most = int(counts.max(initial=0))
    lots = _generator(_CHOICE_OF_CAPTIONS, seed, epoch).random((len(counts), most))
    lots[np.arange(most) >= counts[:, None]] = np.inf  # captions that a photo does not have come last
    drawn = np.argsort(lots, axis=1)  # (photos, most): each photo's captions in random order
    columns = np.arange(texts_per_photo) % counts[:, None]  # (photos, texts_per_photo)
    return np.take_along_axis(drawn, columns, axis=1).astype(np.int64)


def false_negative_rows(batch: Integers) -> int:
    """Return how many rows of a batch int64 (n, 2) of pairs have their photo in another row as well.

    Of a global batch: negatives come from all processes.
    """
    _, rows_of_photo = np.unique(batch[:, 0], return_counts=True)
    return int(rows_of_photo[rows_of_photo > 1].sum())


def _generator(stream: int, seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([stream, seed, epoch])


@lru_cache(maxsize=4)  # an epoch's order is asked for at every step
def _shuffled(n: int, stream: int, seed: int, epoch: int) -> Integers:
    order = _generator(stream, seed, epoch).permutation(n).astype(np.int64)
    order.flags.writeable = False
    return order


def _share(batch: Integers, world_size: int, rank: int) -> Integers:
    """Return a copy of the rank's slice."""
    size = len(batch) // world_size
    return batch[rank * size : (rank + 1) * size].copy()


def _steps(n: int, batch_size: int, drop_last: bool) -> int:
    return n // batch_size if drop_last else -(-n // batch_size)


def _counted(captions_per_photo: Sequence[int]) -> Integers:
    counts = np.asarray(captions_per_photo, dtype=np.int64)
    if (counts < 1).any():
        photo = int(np.argmax(counts < 1))
        raise ValueError(f"photo {photo} has {counts[photo]} captions; every photo needs one at least")
    return counts


def _check(n: int, batch_size: int, drop_last: bool, world_size: int, rank: int, *, what: str) -> None:
    if batch_size < 1 or world_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            f"batch_size and world_size start at 1 and rank is below world_size, not {batch_size}, "
            f"{world_size} and {rank}"
        )
    if batch_size % world_size:
        raise ValueError(f"a batch of {batch_size} {what} cannot be shared equally by {world_size} processes")
    if _steps(n, batch_size, drop_last) == 0:
        raise ValueError(f"{n} {what} make no batch of {batch_size}; choose a smaller batch_size")
    if not drop_last and n % world_size:  # which divides batch_size
        raise ValueError(
            f"the last batch, of {n % batch_size} {what}, cannot be shared equally by {world_size} "
            "processes; set drop_last, or choose another batch_size"
        )


def _check_step(step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise IndexError(f"an epoch has steps 0 to {steps - 1}, and no step {step}")
