"""How far a figure could be off by the luck of the photos: 95 % intervals by the bootstrap.

Photos are drawn with replacement, each with all of its captions, for the captions of a photo are found or
missed together; the gallery stays as it is. So an interval speaks of other questions to a gallery like this
one, not of other training runs and not of a larger gallery.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals).
"""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.metrics import Floats, Measured

SAMPLES = 10_000
CONFIDENCE = 0.95
ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
SEED = 0
_DRAWS_AT_ONCE = 2_000_000  # bounds memory: weights of that many photos, and as many ranks, at a time

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Say of a difference whether its interval leaves out nought."""
        return self.low > 0 or self.high < 0


def estimates(
    measured: Mapping[Key, Measured], *, samples: int = SAMPLES, seed: int = SEED
) -> dict[Key, dict[str, Estimate]]:
    """Return each figure with its interval, by the keys given and by name.

    Kinds of question asked of equally many photos are resampled together, with the same draws.
    """
    found = {
        key: _with_intervals(one, resampled) for key, one, resampled in _resample(measured, samples, seed)
    }
    return {key: found[key] for key in measured}


def differences(
    ours: Mapping[Key, Measured], theirs: Mapping[Key, Measured], *, samples: int = SAMPLES, seed: int = SEED
) -> dict[Key, dict[str, Estimate]]:
    """Return ours minus theirs, with paired intervals: in each resample both answer for the same photos.

    Raises:
        ValueError: the two do not hold the same kinds of question about the same number of photos.
    """
    if {key: (one.names, one.photos) for key, one in ours.items()} != {
        key: (one.names, one.photos) for key, one in theirs.items()
    }:
        raise ValueError("only the same questions about the same photos can be compared")
    return estimates({key: _minus(one, theirs[key]) for key, one in ours.items()}, samples=samples, seed=seed)


def weights_of_resamples(photos: int, *, samples: int, seed: int) -> Iterator[Floats]:
    """Yield float64 (b, photos), samples rows in all: how often each photo was drawn."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // photos)
    for start in range(0, samples, at_once):
        rows = min(at_once, samples - start)
        drawn = rng.integers(0, photos, (rows, photos)) + photos * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * photos).reshape(rows, photos).astype(np.float64)


def _resample(
    measured: Mapping[Key, Measured], samples: int, seed: int
) -> Iterator[tuple[Key, Measured, Floats]]:
    """Yield each kind of question with its resampled figures float64 (samples, names)."""
    for photos in sorted({one.photos for one in measured.values()}):
        alike = {key: one for key, one in measured.items() if one.photos == photos}
        blocks: dict[Key, list[Floats]] = {key: [] for key in alike}
        for weights in weights_of_resamples(photos, samples=samples, seed=seed):
            for key, one in alike.items():
                blocks[key].append(one.figures(weights))
        for key, one in alike.items():
            yield key, one, np.concatenate(blocks[key])


def _with_intervals(measured: Measured, resampled: Floats) -> dict[str, Estimate]:
    """Take the middle of the resampled figures; a resample in which a figure is not defined is left out."""
    found = {}
    for (name, value), column in zip(measured.values().items(), resampled.T, strict=True):
        defined = column[~np.isnan(column)]
        low, high = np.quantile(defined, ENDS).tolist() if len(defined) else (math.nan, math.nan)
        found[name] = Estimate(value, low, high)
    return found


def _minus(one: Measured, other: Measured) -> Measured:
    return Measured(
        one.names, lambda weights: one.figures(weights) - other.figures(weights), one.photos, one.questions
    )
