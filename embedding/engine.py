"""What computes: a checkpoint's two towers as two functions, whichever library runs them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Inputs = Mapping[str, Tensor]
"""What a tower takes, by the names that transformers' processors give; the first axis is the batch."""
Floats = NDArray[np.float32]

CPU_BATCH = 16
"""Pictures in a forward pass: on a processor the activations of more fall out of its caches. ViT-B/32 in
bfloat16 does 70 images/s by 16, 60 by 64 and 52 by 128."""


class Engine(Protocol):
    """Two towers on a device; any number of threads may use them."""

    device: str
    batch_size: int
    """Pictures in a forward pass, as many as this device is quickest with."""

    def image_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length."""
        ...

    def text_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length."""
        ...


def usable_cores() -> int:
    """Return the processors this process may use: PyTorch's count, or a container's share if that is less."""
    cores = torch.get_num_threads()
    limit = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": microseconds of processor in each period
    if limit.is_file():
        quota, period = limit.read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores
