"""Training runs, real and small: a tiny CLIP, drawn photos, a few steps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from embedding.encoder import load_encoder
from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder
from tests.scenes_checkpoint import scenes_checkpoint
from tests.training.drawn_photos import draw_photos
from training.dev_recall import DevRecall, dev_recall
from training.errors import CheckpointFolderError, TrainingStoppedError
from training.photos import CaptionedPhoto
from training.recipe import Recipe
from training.run_folder import RESUME, RunFolder
from training.towers import DualTowers, open_checkpoint
from training.train import Run, train

pytestmark = pytest.mark.usefixtures("fresh_accelerate")

RECIPE = Recipe(
    epochs=3, batch_size=8, image_learning_rate=1e-3, text_learning_rate=1e-3, head_learning_rate=1e-3,
    precision="float32", patience=0,
)  # fmt: skip


class Silent:
    """Hears nothing, and may interrupt."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.heard: list[DevRecall] = []

    def step(self, step: int, steps: int, *, epoch: int, loss: float, photos_per_s: float) -> None:
        if step == self.stop_after:
            raise KeyboardInterrupt

    def epoch(self, epoch: int, dev: DevRecall, *, best: bool) -> None:
        self.heard.append(dev)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoint") / "clip")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[CaptionedPhoto]:
    return draw_photos(tmp_path_factory.mktemp("photos"), 36)


def run(
    start: Path | DualTowers,
    photos: list[CaptionedPhoto],
    out: Path,
    recipe: Recipe = RECIPE,
    **settings: Any,
) -> Run:
    """Train on the photos but the last 12, which are for scoring."""
    towers = open_checkpoint(str(start)) if isinstance(start, Path) else start
    settings = {"identity": {"recipe": asdict(recipe)}, "progress": Silent(), **settings}
    return train(towers, photos[:24], photos[24:], recipe, RunFolder(out), **settings)


def losses(out: Path) -> list[float]:
    return [each["loss"] for each in RunFolder(out).steps()]


def test_training_lowers_the_loss_and_leaves_a_checkpoint_that_encodes(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=8, augment_photos=False)
    ended = run(clip, photos, tmp_path / "out", recipe)
    curve = losses(tmp_path / "out")
    assert len(curve) == ended.steps == 24
    assert np.mean(curve[-3:]) < np.mean(curve[:3]) - 0.3
    assert ended.epochs[ended.best_epoch - 1].mean > ended.start.mean
    encoder = load_encoder(str(tmp_path / "out"), precision="float32")
    assert encoder.dimension == load_encoder(str(clip)).dimension
    assert encoder.preprocessing() == load_encoder(str(clip)).preprocessing()


def test_the_checkpoint_is_the_best_epoch_s_and_the_story_says_which(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    ended = run(clip, photos, tmp_path, replace(RECIPE, epochs=4, ema_decay=0.9))
    story = json.loads((tmp_path / "training.json").read_text())
    assert story["finished"]
    assert len(story["epochs"]) == 4
    means = [ended.start.mean, *(epoch.mean for epoch in ended.epochs)]
    assert ended.best_epoch == int(np.argmax(means))
    again = open_checkpoint(str(tmp_path))
    again.model.eval()
    assert dev_recall(again, photos[24:], device=torch.device("cpu")).mean == pytest.approx(max(means))


@pytest.mark.parametrize(
    "changes",
    [
        {"augment_photos": True, "augment_captions": True, "ema_decay": 0.9, "texts_per_photo": 2},
        {"pairs": "plain", "texts_per_photo": 1, "accumulation": 2, "distillation": 0.3},
        {"chunk_size": 3, "distillation": 0.3, "layer_decay": 0.7},
        {"lora_rank": 4, "freeze": "image"},
        {"loss": "sigmoid"},
    ],
    ids=["augmented", "plain", "cached", "lora", "sigmoid"],
)
@pytest.mark.parametrize("family", [tiny_clip, tiny_dual_encoder], ids=["clip", "with dropout"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    photos: list[CaptionedPhoto], tmp_path: Path, family: Callable[[Path], Path], changes: dict[str, Any]
) -> None:
    recipe = replace(RECIPE, epochs=2, **changes)
    start = family(tmp_path / "start")
    whole = run(start, photos, tmp_path / "whole", recipe)
    for stop_after in (2, whole.steps - 1):
        with pytest.raises(KeyboardInterrupt):
            run(start, photos, tmp_path / "stopped", recipe, progress=Silent(stop_after), save_every_s=0.0)
    resumed = run(start, photos, tmp_path / "stopped", recipe)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert resumed == whole
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def run_apart(folder: Path) -> subprocess.Popen[bytes]:
    """Start this file's main in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    return subprocess.Popen([sys.executable, "-m", "tests.training.test_train", str(folder)], env=environment)


@pytest.mark.slow
def test_a_killed_run_has_the_loss_curve_of_one_that_was_not(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    assert run_apart(whole).wait(timeout=300) == 0
    killed = tmp_path / "killed"
    for steps in (2, 5, 7):
        process = run_apart(killed)
        while process.poll() is None and len(losses(killed) if killed.exists() else []) < steps:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run_apart(killed).wait(timeout=300) == 0
    assert losses(killed) == losses(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_finished_run_is_not_done_again_and_another_run_does_not_overwrite_it(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1)
    first = run(clip, photos, tmp_path, recipe)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert RESUME not in before
    assert run(clip, photos, tmp_path, recipe) == first
    with pytest.raises(CheckpointFolderError, match="another recipe"):
        run(clip, photos, tmp_path, replace(recipe, seed=1))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_folder_with_other_files_is_left_alone(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(CheckpointFolderError, match="no training run"):
        run(clip, photos, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_a_frozen_tower_stays_as_it_was(clip: Path, photos: list[CaptionedPhoto], tmp_path: Path) -> None:
    run(clip, photos, tmp_path, replace(RECIPE, epochs=2, freeze="image", weight_decay=0.5))
    before, after = load_file(clip / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in changed if name.startswith("vision_model.")]
    assert [name for name in changed if name.startswith("text_model.")]


def test_low_rank_additions_are_merged_into_an_ordinary_checkpoint(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    run(clip, photos, tmp_path, replace(RECIPE, epochs=2, lora_rank=4))
    before, after = load_file(clip / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert {name: value.shape for name, value in before.items()} == {
        name: value.shape for name, value in after.items()
    }
    assert not torch.equal(
        before["text_model.encoder.layers.0.mlp.fc1.weight"],
        after["text_model.encoder.layers.0.mlp.fc1.weight"],
    )


def test_memory_in_chunks_changes_nothing_but_rounding(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    run(clip, photos, tmp_path / "whole", replace(RECIPE, epochs=1))
    run(clip, photos, tmp_path / "chunks", replace(RECIPE, epochs=1, chunk_size=3))
    np.testing.assert_allclose(losses(tmp_path / "chunks"), losses(tmp_path / "whole"), rtol=1e-3)


def test_batch_norm_statistics_stay_unless_asked_otherwise(
    photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    start = tiny_convolutional(tmp_path / "start")
    before = load_file(start / "model.safetensors")
    statistics = [name for name in before if name.endswith("running_mean")]
    for freeze in (True, False):
        out = tmp_path / str(freeze)
        run(start, photos, out, replace(RECIPE, epochs=2, freeze_batch_norm=freeze))
        after = load_file(out / "model.safetensors")
        assert all(torch.equal(before[name], after[name]) for name in statistics) == freeze


def test_two_different_towers_learn_too(photos: list[CaptionedPhoto], tmp_path: Path) -> None:
    ended = run(tiny_dual_encoder(tmp_path / "start"), photos, tmp_path / "out")
    assert ended.best_epoch > 0


def test_the_temperature_never_leaves_its_bounds(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    towers = open_checkpoint(str(clip))
    with torch.no_grad():
        towers.model.logit_scale.fill_(4.7)  # exp: 110
    run(towers, photos, tmp_path, replace(RECIPE, epochs=1, head_learning_rate=0.0))
    assert [each["logit_scale"] for each in RunFolder(tmp_path).steps()] == pytest.approx([100.0] * 3)


def test_a_loss_that_is_no_number_stops_the_run_in_plain_words(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    towers = open_checkpoint(str(clip))
    with torch.no_grad():
        towers.model.text_projection.weight[0, 0] = float("nan")
    with pytest.raises(TrainingStoppedError, match="learning rates are too high"):
        run(towers, photos, tmp_path)


@pytest.mark.slow
def test_a_run_that_undoes_what_the_start_knew_stops_after_one_epoch(
    photos: list[CaptionedPhoto], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    checkpoint = scenes_checkpoint(pytestconfig)
    dev = draw_photos(tmp_path / "dev", 60, seed=5, size_px=64)
    towers = open_checkpoint(str(checkpoint))
    recipe = replace(
        RECIPE, image_learning_rate=1.0, text_learning_rate=1.0, head_learning_rate=1.0, warmup_share=0.0,
        max_gradient_norm=0.0,
    )  # fmt: skip
    out = tmp_path / "out"
    with pytest.raises(TrainingStoppedError, match="worse than it was"):
        train(towers, photos[:24], dev, recipe, RunFolder(out), identity={}, progress=Silent())
    assert load_encoder(str(out), precision="float32").encode_texts(["a red circle"]) == pytest.approx(
        load_encoder(str(checkpoint), precision="float32").encode_texts(["a red circle"]), abs=1e-5
    )


def test_it_stops_early_when_nothing_gets_better(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    recipe = replace(
        RECIPE, epochs=9, patience=2, image_learning_rate=0, text_learning_rate=0, head_learning_rate=0
    )
    ended = run(clip, photos, tmp_path, recipe)
    assert ended.stopped_early
    assert len(ended.epochs) == 2
    assert ended.best_epoch == 0


def test_too_few_photos_for_a_batch_are_refused_with_the_way_out(
    clip: Path, photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    with pytest.raises(TrainingStoppedError, match="--batch-size"):
        run(clip, photos, tmp_path, replace(RECIPE, batch_size=25))


@pytest.mark.slow
def test_two_processes_learn_as_one_does(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for processes in ("1", "2"):
        arguments = [processes, "-m", "tests.training.test_train", str(tmp_path / processes)]
        subprocess.run([*command, *arguments], env=environment, check=True, timeout=300)
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    np.testing.assert_allclose(two, one, rtol=2e-3)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("1", "2")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0.02, atol=2e-3)


def main(out: Path) -> None:
    """Train as run() does, in this process; several processes share the folder beside the run's."""
    shared = out.parent / f"start-{os.environ.get('WORLD_SIZE', '')}"
    checkpoint = tiny_clip(shared / f"clip-{os.getpid()}")
    photos = draw_photos(shared / f"photos-{os.getpid()}", 36)
    run(checkpoint, photos, out, replace(RECIPE, augment_photos=False), save_every_s=0.0)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    main(Path(sys.argv[1]))
