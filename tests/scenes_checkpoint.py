"""The encoder of the drawn scenes, trained once and kept: for every test that wants one that has learnt."""

import tempfile
from functools import cache
from pathlib import Path

import pytest
from fasteners import InterProcessLock

from training.scenes_encoder import train_scenes_encoder


def scenes_checkpoint(config: pytest.Config) -> Path:
    """Return the trained checkpoint's folder, in pytest's cache: made the first time, there ever after.

    Another recipe or other drawings train anew. Mark what asks for it `slow`.
    """
    kept = getattr(config, "cache", None)  # none under -p no:cacheprovider
    folder = kept.mkdir("scenes") if kept else _folder_of_this_run()
    with InterProcessLock(folder / "lock"):  # several workers want it, and one trains it
        return train_scenes_encoder(folder / "encoder")


@cache
def _folder_of_this_run() -> Path:
    return Path(tempfile.mkdtemp(prefix="image-retrieval-scenes-"))
