"""The Encoder protocol: the one seam where the world is expensive, and how to open a checkpoint."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Encoder(Protocol):
    """A dual encoder: pictures and words to unit vectors in one space."""

    checkpoint: str
    """Where it came from: a hub name or an absolute path."""
    fingerprint: str
    """SHA-256 (hex) over weights, tokenizer and preprocessing: what makes two encoders the same."""
    dimension: int
    device: str

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit rows, for n decoded RGB pictures of any size."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit rows; a text longer than the context is cut at its end."""
        ...

    def is_truncated(self, text: str) -> bool:
        """Say whether encode_texts reads only the beginning of this text."""
        ...

    def preprocessing(self) -> dict[str, object]:
        """Return the preprocessing as plain JSON values, for the encoders table."""
        ...
