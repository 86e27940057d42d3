"""CLIP, SigLIP, SigLIP 2 and their kin through transformers, as one Encoder.

Pictures are preprocessed in a few threads while the engine works on those before them. What an engine gives
is put in order, made unit length and checked here, so that all engines are used alike, and fail alike.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from PIL import Image

from embedding.engine import Engine, Floats, Inputs
from embedding.errors import EncoderOutOfMemoryError, EncoderUnavailableError
from embedding.preprocessing import Preprocessing, preprocess
from embedding.transformers_loading import Readers

_TEXTS_PER_IMAGE = 4  # texts are shorter
# How allocators say it where they have no class for it: PyTorch's, cuBLAS's, Apple's, C++'s own.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED|bad.alloc", re.IGNORECASE
)


class TransformersEncoder:
    """A dual encoder that transformers knows; any number of threads may use it."""

    def __init__(
        self, engine: Engine, readers: Readers, *, checkpoint: str, fingerprint: str, cores: int
    ) -> None:
        """Take what computes and what reads; embedding.encoder.load_encoder opens both.

        Raises:
            EncoderUnavailableError: the checkpoint's preprocessing is not ours to do, or it gives no vectors.
        """
        self.checkpoint = checkpoint
        self.fingerprint = fingerprint
        self.device = engine.device
        self.batch_size = engine.batch_size
        self._engine = engine
        self._readers = readers
        settings = json.loads(readers.image_processor.to_json_string())
        if readers.takes_patches:
            self._preprocessing: dict[str, object] = settings
            self._prepare: Callable[[Image.Image], Inputs] = self._cut_into_patches
        else:
            grid = Preprocessing.from_processor(settings)
            self._preprocessing = grid.to_dict()
            self._prepare = partial(_to_pixels, preprocessing=grid)
        self._preparing = ThreadPoolExecutor(min(4, cores), thread_name_prefix="preprocess")
        self.dimension = self._probe()

    def encode_images(self, images: Sequence[Image.Image]) -> Floats:
        """Return float32 (n, dimension), unit rows.

        Raises:
            TypeError: an item is no decoded picture; a string is never taken for a path or an address.
            EncoderUnavailableError: the weights give numbers that are not finite.
        """
        for image in images:
            if not isinstance(image, Image.Image):
                raise TypeError(f"encode_images takes decoded PIL pictures, not {type(image).__name__}")
        features = self._engine.image_features
        batches = [images[at : at + self.batch_size] for at in range(0, len(images), self.batch_size)]
        return self._stack([self._unit_rows(features, pixels) for pixels in self._prepare_ahead(batches)])

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Return float32 (n, dimension), unit rows; a text longer than the context is cut at its end.

        Raises:
            ValueError: a text is no valid Unicode.
            EncoderUnavailableError: the weights give numbers that are not finite.
        """
        features = self._engine.text_features
        size = self.batch_size * _TEXTS_PER_IMAGE
        # Texts of like length together, so that little padding is computed.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        rows = [
            self._unit_rows(features, self._readers.tokens.read([texts[index] for index in batch]))
            for batch in batches
        ]
        embeddings = self._stack(rows)
        embeddings[order] = embeddings.copy()
        return embeddings

    def is_truncated(self, text: str) -> bool:
        """Say whether encode_texts reads only the beginning of this text."""
        return self._readers.tokens.is_truncated(text)

    def preprocessing(self) -> dict[str, object]:
        """Return the image preprocessing as JSON values, in a Hugging Face image processor's terms."""
        return dict(self._preprocessing)

    def _prepare_ahead(self, batches: Sequence[Sequence[Image.Image]]) -> Iterator[Inputs]:
        """Yield each batch's inputs; while the caller computes on one, the next is being prepared."""
        ahead: list[Future[Inputs]] = []
        for batch in (*batches, ()):
            ready, ahead = ahead, [self._preparing.submit(self._prepare, image) for image in batch]
            if ready:
                singles = [each.result() for each in ready]
                yield {name: torch.cat([each[name] for each in singles]) for name in singles[0]}

    def _cut_into_patches(self, image: Image.Image) -> Inputs:
        """Return one picture as (1, patches, values) and its masks, by transformers' own processor."""
        return dict(self._readers.image_processor(images=[image.convert("RGB")], return_tensors="pt"))

    def _unit_rows(self, features: Callable[[Inputs], Floats], inputs: Inputs) -> Floats:
        """Return unit rows for one batch; where the device has no memory for it, by halves.

        Raises:
            EncoderOutOfMemoryError: there is none for a single row either.
            EncoderUnavailableError: the weights give numbers that are not finite.
        """
        try:
            rows = features(inputs)
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
                raise
            said = str(error).partition("\n")[0]
        else:
            return self._at_unit_length(rows)
        if torch.cuda.is_available():  # now that the error no longer holds the batch's tensors
            torch.cuda.empty_cache()
        count = len(next(iter(inputs.values())))
        if count == 1:
            raise EncoderOutOfMemoryError(
                f"{self.device} has no memory left for the encoder ({said}); try again shortly, or give it a"
                " smaller model or less other work"
            )
        halves = [slice(None, count // 2), slice(count // 2, None)]
        return np.concatenate(
            [
                self._unit_rows(features, {name: each[half] for name, each in inputs.items()})
                for half in halves
            ]
        )

    def _at_unit_length(self, rows: Floats) -> Floats:
        norms = np.linalg.norm(rows, axis=-1, keepdims=True)
        if not bool(np.all(np.isfinite(norms) & (norms > 0))):
            raise EncoderUnavailableError(
                f"{self.checkpoint} gives numbers that are not finite, or zero: its weights are damaged or "
                "too wide for this precision; try float32, or choose another checkpoint"
            )
        unit: Floats = rows / norms
        return unit

    def _stack(self, rows: Sequence[Floats]) -> Floats:
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])

    def _probe(self) -> int:
        """Return the dimension that a picture and a word come out in; also what warms the model up."""
        orange = self._prepare(Image.new("RGB", (64, 48), "orange"))
        image = self._unit_rows(self._engine.image_features, orange)
        text = self._unit_rows(self._engine.text_features, self._readers.tokens.read(["orange"]))
        if image.ndim != 2 or image.shape != text.shape:
            raise EncoderUnavailableError(
                f"{self.checkpoint} gives a picture the shape {image.shape} and a word {text.shape}, not "
                "vectors of one space; choose a dual encoder such as CLIP, SigLIP or SigLIP 2"
            )
        return int(image.shape[1])


def _to_pixels(image: Image.Image, preprocessing: Preprocessing) -> Inputs:
    """Return one picture as float32 (1, 3, height, width)."""
    return {"pixel_values": torch.from_numpy(preprocess([image], preprocessing))}
