"""Batches for training: photos decoded, augmented and preprocessed in threads, ahead of the step.

A batch is a function of the seed, the epoch and its number alone, so that a run that was interrupted goes on
with the very batches it would have seen.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedding.images import decode_image
from embedding.preprocessing import preprocess_one
from training.augment_captions import CaptionAugmentation, augment_caption
from training.augment_photos import PhotoAugmentation, augment_photo, may_flip
from training.batches import PlainPairBatches, UniquePhotoBatches, epoch_captions
from training.photos import CaptionedPhoto
from training.recipe import Recipe
from training.towers import DualTowers

AHEAD = 2
"""Batches under way; what they hold in memory is this many times a batch's pixels."""

# What tells the random streams of one step apart.
_PHOTO, _CAPTION = 1, 2


@dataclass(frozen=True, slots=True)
class Batch:
    """This process's share of a step's photos, and their captions."""

    pixels: Tensor
    """float32 (n, 3, height, width)."""
    tokens: Mapping[str, Tensor]
    """int64 (m, tokens) each; caption j belongs to photo j // texts_per_photo."""
    pairs: Tensor
    """int64 (m, 2): which photo of the training photos, and which of its captions."""
    image_of_text: Tensor
    """int64 (M,) over the whole step, all processes: caption j's photo among the step's photos."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A batch whose photos are being prepared."""

    pixels: NDArray[np.float32]
    """float32 (n, 3, height, width), being written."""
    writing: list[Future[None]]
    pairs: list[tuple[int, int]]
    texts: list[str]


class BatchLoader:
    """Reads batches ahead; it works inside its `with`."""

    def __init__(
        self,
        photos: Sequence[CaptionedPhoto],
        towers: DualTowers,
        recipe: Recipe,
        *,
        rank: int = 0,
        processes: int = 1,
        threads: int = 4,
    ) -> None:
        """Take the photos, which decode (check_photos), and what they are for.

        Args:
            photos: at least a batch of them.
            towers: whose tokenizer and preprocessing.
            recipe: pairs, sizes, augmentation, seed.
            rank: this process's number.
            processes: how many share a step.
            threads: that prepare photos.
        """
        self._photos = photos
        self._towers = towers
        self._recipe = recipe
        self._rank = rank
        self._processes = processes
        self._flips = [may_flip(photo.captions) for photo in photos]
        self._counts = [len(photo.captions) for photo in photos]
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="photos")
        size = recipe.batch_size
        if recipe.pairs == "plain":
            self._plain: PlainPairBatches | None = PlainPairBatches(
                self._counts, size, recipe.seed, drop_last=True, world_size=processes, rank=rank
            )
            self.batches_per_epoch = len(self._plain)
        else:
            self._plain = None
            self._unique = UniquePhotoBatches(
                len(photos), size, recipe.seed, drop_last=True, world_size=processes, rank=rank
            )
            self.batches_per_epoch = len(self._unique)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches, from the batch of this number on.

        Raises:
            OSError, ImageError: a photo that could be read before no longer can be.
        """
        waiting: deque[_Begun] = deque()
        chosen = self._choose_captions(epoch)
        for number in range(first, self.batches_per_epoch):
            waiting.append(self._begin(epoch, number, chosen))
            if len(waiting) == AHEAD:
                yield self._finish(waiting.popleft())
        while waiting:
            yield self._finish(waiting.popleft())

    def _choose_captions(self, epoch: int) -> NDArray[np.int64]:
        if self._plain is not None:
            return np.empty((0, 0), np.int64)
        recipe = self._recipe
        return epoch_captions(self._counts, recipe.texts_per_photo, epoch, recipe.seed)

    def _begin(self, epoch: int, number: int, chosen: NDArray[np.int64]) -> _Begun:
        """Start preparing a batch's photos, and choose its captions."""
        if self._plain is not None:
            pairs = [(int(photo), int(caption)) for photo, caption in self._plain.batch(epoch, number)]
            photos = [photo for photo, _ in pairs]
        else:
            photos = [int(photo) for photo in self._unique.batch(epoch, number)]
            pairs = [(photo, int(caption)) for photo in photos for caption in chosen[photo]]
        first = number * len(photos)
        pixels = np.empty((len(photos), 3, *self._towers.preprocessing.size_px), np.float32)
        writing = [
            self._threads.submit(self._prepare, photo, epoch, first + place, pixels[place])
            for place, photo in enumerate(photos)
        ]
        return _Begun(pixels, writing, pairs, [self._text(photo, caption, epoch) for photo, caption in pairs])

    def _finish(self, begun: _Begun) -> Batch:
        n, m = len(begun.pixels), len(begun.pairs)
        for each in begun.writing:
            each.result()
        return Batch(
            pixels=torch.from_numpy(begun.pixels),
            tokens=self._towers.tokens.read(begun.texts),
            pairs=torch.tensor(begun.pairs),
            image_of_text=torch.arange(n * self._processes).repeat_interleave(m // n),
        )

    def _prepare(self, index: int, epoch: int, place: int, out: NDArray[np.float32]) -> None:
        """Write one photo, augmented for this place of this epoch, into float32 (3, height, width)."""
        preprocessing = self._towers.preprocessing
        photo = self._photos[index]
        image = decode_image(photo.source.read(), name=photo.name, enough_px=preprocessing.enough_px)
        if self._recipe.augment_photos:
            rng = np.random.default_rng([self._recipe.seed, _PHOTO, epoch, index, place])
            image = augment_photo(image, rng, PhotoAugmentation(), may_flip=self._flips[index])
        preprocess_one(image, preprocessing, out)

    def _text(self, photo: int, caption: int, epoch: int) -> str:
        text = self._photos[photo].captions[caption]
        if not self._recipe.augment_captions:
            return text
        rng = np.random.default_rng([self._recipe.seed, _CAPTION, epoch, photo, caption])
        return augment_caption(text, rng, CaptionAugmentation())
