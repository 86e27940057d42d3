"""Small drawn pictures, each unlike the others, and an encoder that counts them."""

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.encoders import FakeEncoder


def draw(number: int) -> bytes:
    """Return a JPEG of 48 × 32 pixels; another number is another picture."""
    pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((48, 32), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def write_pictures(folder: Path, count: int, *, first: int = 0) -> None:
    """Write 00000.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:05}.jpg").write_bytes(draw(number))


class CountingEncoder(FakeEncoder):
    """Counts the pictures it has seen, and takes its time."""

    def __init__(self, checkpoint: str = "fake/encoder", *, seconds_a_batch: float = 0.0) -> None:
        super().__init__(checkpoint)
        self.seconds_a_batch = seconds_a_batch
        self.seen = 0

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        time.sleep(self.seconds_a_batch)
        self.seen += len(images)
        return super().encode_images(images)
