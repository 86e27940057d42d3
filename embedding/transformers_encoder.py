"""CLIP, SigLIP, SigLIP 2 and their kin through transformers, as one Encoder.

Pictures are preprocessed in a few threads while the device works on those before them. Forward passes go
through one thread, in the order they were asked for: two at once would fight for the same cores, and a search
that comes in the midst of an indexing run waits for one sub-batch, not for all of them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from embedding.errors import EncoderOutOfMemoryError, EncoderUnavailableError
from embedding.preprocessing import Preprocessing, preprocess
from embedding.transformers_loading import load_dual_encoder

Inputs = Mapping[str, Tensor]
Floats = NDArray[np.float32]

# Pictures in a forward pass. On a processor the activations of more fall out of its caches: ViT-B/32 in
# bfloat16 does 70 images/s by 16, 60 by 64 and 52 by 128. A GPU wants more.
_CPU_BATCH, _GPU_BATCH = 16, 128
_TEXTS_PER_IMAGE = 4  # texts are shorter
# Tokens that one core is quickest with in packed bfloat16. A question is a hundred small products, after
# each of which several cores wait longer than they saved: 16 tokens of ViT-B/32 took 14 ms on one, 24 on 4.
_ONE_CORE_TOKENS = 32
# How PyTorch's allocators say it where they have no class for it: the processor's, cuBLAS's, Apple's.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE
)


class TransformersEncoder:
    """A dual encoder that transformers knows; any number of threads may use it."""

    def __init__(
        self,
        directory: Path,
        *,
        checkpoint: str,
        fingerprint: str,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        """Load a folder; embedding.encoder.load_encoder describes the arguments and finds the folder.

        Raises:
            EncoderUnavailableError: the checkpoint cannot be loaded, or does not give vectors.
        """
        self.checkpoint = checkpoint
        self.fingerprint = fingerprint
        self._loaded = load_dual_encoder(directory, device=device, precision=precision)
        self.device = str(self._loaded.device)
        self.batch_size = _CPU_BATCH if self._loaded.device.type == "cpu" else _GPU_BATCH
        settings = json.loads(self._loaded.image_processor.to_json_string())
        if self._loaded.takes_patches:
            self._preprocessing: dict[str, object] = settings
            self._prepare: Callable[[Image.Image], Inputs] = self._cut_into_patches
        else:
            grid = Preprocessing.from_processor(settings)
            self._preprocessing = grid.to_dict()
            self._prepare = partial(_to_pixels, preprocessing=grid)
        cores = threads or _usable_cores()
        self._preparing = ThreadPoolExecutor(min(4, cores), thread_name_prefix="preprocess")
        self._device_thread = ThreadPoolExecutor(1, "encoder", torch.set_num_threads, (cores,))
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
        features = self._loaded.model.get_image_features
        batches = [images[at : at + self.batch_size] for at in range(0, len(images), self.batch_size)]
        return self._stack([self._forward(features, pixels) for pixels in self._prepare_ahead(batches)])

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Return float32 (n, dimension), unit rows; a text longer than the context is cut at its end.

        Raises:
            ValueError: a text is no valid Unicode.
            EncoderUnavailableError: the weights give numbers that are not finite.
        """
        features = self._loaded.model.get_text_features
        size = self.batch_size * _TEXTS_PER_IMAGE
        # Texts of like length together, so that little padding is computed.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        rows = [
            self._forward(features, self._loaded.tokens.read([texts[index] for index in batch]))
            for batch in batches
        ]
        embeddings = self._stack(rows)
        embeddings[order] = embeddings.copy()
        return embeddings

    def is_truncated(self, text: str) -> bool:
        """Say whether encode_texts reads only the beginning of this text."""
        return self._loaded.tokens.is_truncated(text)

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
        return dict(self._loaded.image_processor(images=[image.convert("RGB")], return_tensors="pt"))

    def _forward(self, features: Callable[..., Any], inputs: Inputs) -> Floats:
        """Return unit rows for one batch; where the device has no memory for it, by halves.

        Raises:
            EncoderOutOfMemoryError: there is none for a single row either.
        """
        try:
            return self._in_turn(features, inputs)
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
                raise
            said = str(error).partition("\n")[0]
        if torch.cuda.is_available():  # now that the error no longer holds the batch's tensors
            torch.cuda.empty_cache()
        rows = len(next(iter(inputs.values())))
        if rows == 1:
            raise EncoderOutOfMemoryError(
                f"{self.device} has no memory left for the encoder ({said}); try again shortly, or give it a"
                " smaller model or less other work"
            )
        halves = [slice(None, rows // 2), slice(rows // 2, None)]
        return np.concatenate(
            [self._forward(features, {name: each[half] for name, each in inputs.items()}) for half in halves]
        )

    def _in_turn(self, features: Callable[..., Any], inputs: Inputs) -> Floats:
        """Return unit rows for one batch, computed in its turn on the device's thread.

        A short question stays in the caller's thread, on one core: handing it over would only cost time.
        """
        tokens = inputs.get("input_ids")
        if self._loaded.packed and tokens is not None and tokens.numel() <= _ONE_CORE_TOKENS:
            with _one_core():
                return self._compute(features, inputs)
        return self._device_thread.submit(self._compute, features, inputs).result()

    @torch.inference_mode()
    def _compute(self, features: Callable[..., Any], inputs: Inputs) -> Floats:
        output = features(**{name: self._place(tensor) for name, tensor in inputs.items()})
        embeddings = getattr(output, "pooler_output", output).float()  # some families give the bare tensor
        norms = embeddings.norm(dim=-1, keepdim=True)
        if not bool(torch.all(torch.isfinite(norms) & (norms > 0))):
            raise EncoderUnavailableError(
                f"{self.checkpoint} gives numbers that are not finite, or zero: its weights are damaged or "
                "too wide for this precision; try float32, or choose another checkpoint"
            )
        unit: Floats = (embeddings / norms).cpu().numpy()
        return unit

    def _place(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.to(self._loaded.device)
        layout = self._loaded.image_layout if tensor.ndim == 4 else torch.preserve_format
        return tensor.to(self._loaded.device, self._loaded.image_dtype, memory_format=layout)

    def _stack(self, rows: Sequence[Floats]) -> Floats:
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])

    def _probe(self) -> int:
        """Return the dimension that a picture and a word come out in; also what warms the model up."""
        model = self._loaded.model
        image = self._forward(model.get_image_features, self._prepare(Image.new("RGB", (64, 48), "orange")))
        text = self._forward(model.get_text_features, self._loaded.tokens.read(["orange"]))
        if image.ndim != 2 or image.shape != text.shape:
            raise EncoderUnavailableError(
                f"{self.checkpoint} gives a picture the shape {image.shape} and a word {text.shape}, not "
                "vectors of one space; choose a dual encoder such as CLIP, SigLIP or SigLIP 2"
            )
        return int(image.shape[1])


@contextmanager
def _one_core() -> Iterator[None]:
    """Let this thread's tensors be computed by it alone."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)


def _to_pixels(image: Image.Image, preprocessing: Preprocessing) -> Inputs:
    """Return one picture as float32 (1, 3, height, width)."""
    return {"pixel_values": torch.from_numpy(preprocess([image], preprocessing))}


def _usable_cores() -> int:
    """Return the processors this process may use: PyTorch's count, or a container's share if that is less."""
    cores = torch.get_num_threads()
    limit = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": microseconds of processor in each period
    if limit.is_file():
        quota, period = limit.read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores
