"""Small drawn pictures, each unlike the others, and an encoder that costs nothing."""

import hashlib
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding.preprocessing import Preprocessing


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


class FakeEncoder:
    """Sees a picture as 4 × 4 colours; another checkpoint is another encoder."""

    dimension = 48
    device = "cpu"

    def __init__(self, checkpoint: str = "fake/encoder", *, seconds_a_batch: float = 0.0) -> None:
        self.checkpoint = checkpoint
        self.fingerprint = hashlib.sha256(checkpoint.encode()).hexdigest()
        self.seconds_a_batch = seconds_a_batch
        self.seen = 0

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        time.sleep(self.seconds_a_batch)
        colours = [
            np.asarray(image.resize((4, 4), Image.Resampling.BOX), np.float32).ravel() for image in images
        ]
        embeddings = np.stack(colours) + 1
        self.seen += len(images)
        return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError

    def is_truncated(self, text: str) -> bool:
        raise NotImplementedError

    def preprocessing(self) -> dict[str, object]:
        return Preprocessing((224, 224), "shortest", (0.5,) * 3, (0.5,) * 3).to_dict()
