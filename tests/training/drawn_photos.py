"""Drawn photos with captions, on disk: what the training tests learn from."""

from pathlib import Path

import numpy as np

from training.photos import CaptionedPhoto, FileSource
from training.scenes import captions_of, draw, training_scenes


def draw_photos(folder: Path, count: int, *, seed: int = 0, size_px: int = 48) -> list[CaptionedPhoto]:
    """Write this many scenes as PNG files; return them with their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for number, scene in enumerate(training_scenes(count, seed)):
        path = folder / f"{number:03}.png"
        draw(scene, np.random.default_rng([seed, number]), size_px=size_px).save(path)
        captions = tuple(caption.body for caption in captions_of(scene))
        photos.append(CaptionedPhoto(path.name, captions, FileSource(path)))
    return photos


def write_captions(path: Path, photos: list[CaptionedPhoto]) -> Path:
    """Write an image,caption file."""
    lines = [f"{photo.name},{caption}" for photo in photos for caption in photo.captions]
    path.write_text("\n".join(["image,caption", *lines]) + "\n", "utf-8")
    return path
