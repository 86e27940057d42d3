"""Recall on the dev photos, as training asks for it after each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from embedding.images import decode_image
from embedding.preprocessing import preprocess
from training.evaluate import ranks_of_images, ranks_of_texts, recall_at_k
from training.photos import CaptionedPhoto
from training.towers import DualTowers

PHOTOS_AT_ONCE = 32
TEXTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class DevRecall:
    """Percent of questions answered among the first 1, 5 and 10, both ways, exact, in float32."""

    text_to_image: list[float]
    image_to_text: list[float]

    @property
    def mean(self) -> float:
        """Mean of all six: what the best epoch is chosen by."""
        return sum((*self.text_to_image, *self.image_to_text)) / 6


def dev_recall(towers: DualTowers, dev: Sequence[CaptionedPhoto], *, device: torch.device) -> DevRecall:
    """Score the towers, which are in eval mode, on photos that decode, with all their captions."""
    pictures = embed_photos(towers, dev, device=device)
    words = embed_captions(towers, [caption for photo in dev for caption in photo.captions], device=device)
    image_of_text = np.repeat(np.arange(len(dev)), [len(photo.captions) for photo in dev])
    by_text = ranks_of_images(words, pictures, image_of_text)
    by_image = ranks_of_texts(pictures, words, image_of_text)
    return DevRecall(
        [recall_at_k(by_text, k) for k in (1, 5, 10)], [recall_at_k(by_image, k) for k in (1, 5, 10)]
    )


@torch.inference_mode()
def embed_photos(
    towers: DualTowers, photos: Sequence[CaptionedPhoto], *, device: torch.device
) -> NDArray[np.float32]:
    """Return float32 (photos, d), unit rows."""
    rows = []
    for at in range(0, len(photos), PHOTOS_AT_ONCE):
        images = [
            decode_image(photo.source.read(), name=photo.name, enough_px=towers.preprocessing.enough_px)
            for photo in photos[at : at + PHOTOS_AT_ONCE]
        ]
        pixels = torch.from_numpy(preprocess(images, towers.preprocessing)).to(device)
        rows.append(towers.embed_images(pixels).cpu().numpy())
    return np.concatenate(rows)


@torch.inference_mode()
def embed_captions(towers: DualTowers, texts: Sequence[str], *, device: torch.device) -> NDArray[np.float32]:
    """Return float32 (texts, d), unit rows."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # little padding
    rows = []
    for at in range(0, len(order), TEXTS_AT_ONCE):
        tokens = towers.tokens.read([texts[index] for index in order[at : at + TEXTS_AT_ONCE]])
        embedded = towers.embed_texts({name: tensor.to(device) for name, tensor in tokens.items()})
        rows.append(embedded.cpu().numpy())
    embeddings = np.concatenate(rows)
    embeddings[order] = embeddings.copy()
    return embeddings
