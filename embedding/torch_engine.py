"""PyTorch as the engine: any device, any family.

Forward passes go through one thread, in the order they were asked for: two at once would fight for the same
cores, and a search that comes in the midst of an indexing run waits for one sub-batch, not for all of them.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from embedding.engine import CPU_BATCH, Floats, Inputs
from embedding.transformers_loading import DualEncoder

_GPU_BATCH = 128
# Tokens that one core is quickest with in packed bfloat16. A question is a hundred small products, after
# each of which several cores wait longer than they saved: 16 tokens of ViT-B/32 took 14 ms on one, 24 on 4.
_ONE_CORE_TOKENS = 32


class TorchEngine:
    """A model that load_dual_encoder loaded; any number of threads may use it."""

    def __init__(self, loaded: DualEncoder, *, cores: int) -> None:
        """Take the model, and the processor threads of a forward pass."""
        self._loaded = loaded
        self.device = str(loaded.device)
        self.batch_size = CPU_BATCH if loaded.device.type == "cpu" else _GPU_BATCH
        self._device_thread = ThreadPoolExecutor(1, "encoder", torch.set_num_threads, (cores,))

    def image_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length."""
        return self._in_turn(self._loaded.model.get_image_features, inputs)

    def text_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length.

        A short question stays in the caller's thread, on one core: handing it over would only cost time.
        """
        features = self._loaded.model.get_text_features
        if self._loaded.packed and inputs["input_ids"].numel() <= _ONE_CORE_TOKENS:
            with _one_core():
                return self._compute(features, inputs)
        return self._in_turn(features, inputs)

    def _in_turn(self, features: Callable[..., Any], inputs: Inputs) -> Floats:
        return self._device_thread.submit(self._compute, features, inputs).result()

    @torch.inference_mode()
    def _compute(self, features: Callable[..., Any], inputs: Inputs) -> Floats:
        output = features(**{name: self._place(tensor) for name, tensor in inputs.items()})
        rows = getattr(output, "pooler_output", output)  # some families give the bare tensor
        computed: Floats = rows.float().cpu().numpy()
        return computed

    def _place(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.to(self._loaded.device)
        layout = self._loaded.image_layout if tensor.ndim == 4 else torch.preserve_format
        return tensor.to(self._loaded.device, self._loaded.image_dtype, memory_format=layout)


@contextmanager
def _one_core() -> Iterator[None]:
    """Let this thread's tensors be computed by it alone."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)
