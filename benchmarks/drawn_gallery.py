"""A service over drawn scenes, as large and as various in shape as photos: what the page is measured and shown with."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from training.scenes import captions_of, draw, gallery

SEED = 2025
SHAPES = ((1, 1), (5, 4), (4, 5), (4, 3), (1, 1))
"""Width to height; a scene is cropped to one of them in turn."""


def write_drawings(folder: Path, count: int, *, size_px: int) -> None:
    """Write count scenes and their captions.txt."""
    folder.mkdir(parents=True)
    lines = ["image,caption"]
    for number, scene in enumerate(gallery(count, SEED)):
        name = f"scene-{number:04}.jpg"
        drawing = draw(scene, np.random.default_rng([SEED, number]), size_px=size_px)
        cropped(drawing, *SHAPES[number % len(SHAPES)]).save(folder / name, quality=90)
        lines += [f"{name},{caption.body}" for caption in captions_of(scene)]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def cropped(drawing: Image.Image, width: int, height: int) -> Image.Image:
    """Return the middle of a square drawing in this ratio."""
    side = drawing.width
    wide, high = side * min(1, width / height), side * min(1, height / width)
    left, top = (side - wide) / 2, (side - high) / 2
    return drawing.crop((round(left), round(top), round(left + wide), round(top + high)))


@contextmanager
def serving(data_dir: Path, drawings: Path, model: Path) -> Iterator[str]:
    """Index a folder of drawings and serve it as a user would; yield the service's address."""
    environment = os.environ | {
        "IMAGE_RETRIEVAL_DATA_DIR": str(data_dir),
        "IMAGE_RETRIEVAL_LOG_LEVEL": "warning",
    }
    program = [sys.executable, "-m", "app.cli"]
    captions = ["--captions", str(drawings / "captions.txt")]
    subprocess.run([*program, "index", drawings, *captions, "--model", model], env=environment, check=True)
    with subprocess.Popen(
        [*program, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://[\w.:]+", line)))
        finally:
            server.terminate()
