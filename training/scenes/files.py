"""A gallery of scenes on disk: pictures, and their captions in the form Flickr8k made common."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from training.scenes.drawing import draw
from training.scenes.scene import Scene
from training.scenes.wording import captions_of

CAPTIONS_FILE = "captions.txt"


def write_gallery(directory: Path, scenes: Sequence[Scene], *, seed: int = 0) -> list[Path]:
    """Write scene-0000.jpg … and captions.txt (`image,caption`), and return the pictures' paths.

    The same scenes and seed give the same bytes: written again, nothing changes. Each file appears whole or
    not at all, captions.txt last, so whoever finds it finds every picture that it names.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    lines = ["image,caption"]
    for number, scene in enumerate(scenes):
        picture = BytesIO()
        draw(scene, np.random.default_rng([seed, number])).save(picture, format="JPEG", quality=92)
        path = directory / f"scene-{number:04}.jpg"
        _write_whole(path, picture.getvalue())
        paths.append(path)
        lines += [f"{path.name},{caption.body}" for caption in captions_of(scene)]
    _write_whole(directory / CAPTIONS_FILE, "".join(f"{line}\n" for line in lines).encode())
    return paths


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
