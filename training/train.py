"""The loop: photos and captions -> a better dual encoder; nothing between the reader and the step.

Every random number of a step is a function of the seed and the step, so a run that was killed goes on, on a
processor bit for bit, as if it never had been.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from training.dev_recall import DevRecall
from training.errors import TrainingStoppedError
from training.loader import Batch, BatchLoader
from training.photos import CaptionedPhoto
from training.recipe import Recipe
from training.run_folder import RunFolder
from training.step import Trainer
from training.towers import DualTowers

SAVE_EVERY_S = 120.0
"""How much work a kill may cost."""
MEANINGFUL_START = 4.0
"""A start whose dev recall is this many times chance knows something that an epoch may destroy."""


class Progress(Protocol):
    """Told how far the run is."""

    def step(self, step: int, steps: int, *, epoch: int, loss: float, photos_per_s: float) -> None:
        """Say that a step is done."""
        ...

    def epoch(self, epoch: int, dev: DevRecall, *, best: bool) -> None:
        """Say what an epoch came to; epoch 0 is the start, before any step."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to."""

    start: DevRecall
    epochs: list[DevRecall]
    best_epoch: int
    """From 1; 0 if no epoch was better than the start."""
    steps: int
    stopped_early: bool


def train(
    towers: DualTowers,
    photos: Sequence[CaptionedPhoto],
    dev: Sequence[CaptionedPhoto],
    recipe: Recipe,
    folder: RunFolder,
    *,
    identity: Mapping[str, object],
    progress: Progress,
    save_every_s: float = SAVE_EVERY_S,
) -> Run:
    """Train the towers in place, and leave the checkpoint that did best on the dev photos in the folder.

    Goes on where the folder says that this very run was; returns at once if it is done.

    Args:
        towers: in float32, on the processor; moved to the GPU if there is one.
        photos: to learn from, at least a batch; all of them decode.
        dev: to choose by.
        recipe: how.
        folder: where to.
        identity: what makes it this run; JSON values.
        progress: who is told.
        save_every_s: seconds between saves of where the run is.

    Raises:
        CheckpointFolderError: the folder holds something else.
        TrainingStoppedError: the loss is no number, or the model got worse than it was; or there are fewer
            photos than a batch.
    """
    if len(photos) < recipe.batch_size:
        raise TrainingStoppedError(
            f"{len(photos)} photos are fewer than a batch of {recipe.batch_size}; use --batch-size"
        )
    story = folder.open(identity)
    if story is not None and story["finished"]:
        return _run(story)
    trainer = Trainer(towers, photos, recipe)
    writes = trainer.accelerator.is_main_process
    with BatchLoader(
        photos,
        towers,
        recipe,
        rank=trainer.accelerator.process_index,
        processes=trainer.accelerator.num_processes,
    ) as loader:
        steps_an_epoch = loader.batches_per_epoch // recipe.accumulation
        steps = recipe.epochs * steps_an_epoch
        first = 0
        if story is None:
            story = _begin_story(identity, trainer.score(dev))
            if writes:
                folder.write_story(story)
                with trainer.weights() as weights:
                    towers.save(folder.directory, weights)
        elif resume := folder.load_resume():
            trainer.restore(resume)
            first, story = resume.counters["step"], resume.counters["story"]
        progress.epoch(0, DevRecall(**story["start"]), best=True)
        if writes:
            folder.forget_steps_after(first)
        before_s, began = story["seconds"], time.monotonic()
        saved = began
        for step, batches in _steps(loader, recipe, first, steps_an_epoch):
            if _gives_up(story, recipe):
                story["stopped_early"] = True
                break
            epoch, closes = step // steps_an_epoch + 1, (step + 1) % steps_an_epoch == 0
            share, started = _share_of_peak(step, steps, recipe), time.monotonic()
            loss = trainer.step(step, batches, share)
            photos_per_s = recipe.batch_size * recipe.accumulation / (time.monotonic() - started)
            progress.step(step + 1, steps, epoch=epoch, loss=loss, photos_per_s=photos_per_s)
            if writes:
                line = {"step": step + 1, "epoch": epoch, "loss": loss, "share_of_peak_rate": share}
                folder.append_step(line | {"logit_scale": towers.logit_scale().item()})
            if not math.isfinite(loss):
                raise TrainingStoppedError(
                    f"the loss of step {step + 1} is {loss}: the learning rates are too high for this model."
                    f" The best checkpoint so far is in {folder.directory}"
                )
            if closes:
                scored = trainer.score(dev)
                best = _close_epoch(story, epoch, scored, step + 1)
                if best and writes:
                    with trainer.weights() as weights:
                        towers.save(folder.directory, weights)
                progress.epoch(epoch, scored, best=best)
                _stop_if_worse_than_the_start(story, dev, folder)
            if writes and (closes or time.monotonic() - saved > save_every_s):
                saved = time.monotonic()
                story["seconds"] = before_s + saved - began
                folder.save_resume(trainer.resume({"step": step + 1, "story": story}))
                folder.write_story(story)
    story["finished"] = True
    if writes:
        folder.write_story(story)
        folder.finish()
    return _run(story)


def _steps(
    loader: BatchLoader, recipe: Recipe, first: int, steps_an_epoch: int
) -> Iterator[tuple[int, list[Batch]]]:
    """Yield each step's number and batches, from the step of this number on."""
    for epoch in range(first // steps_an_epoch, recipe.epochs):
        start = max(first, epoch * steps_an_epoch)
        batches = loader.epoch(epoch, (start - epoch * steps_an_epoch) * recipe.accumulation)
        for step in range(start, (epoch + 1) * steps_an_epoch):
            yield step, [next(batches) for _ in range(recipe.accumulation)]


def _begin_story(identity: Mapping[str, object], start: DevRecall) -> dict[str, Any]:
    return {
        "identity": dict(identity),
        "finished": False,
        "start": asdict(start),
        "epochs": [],
        "best_epoch": 0,
        "steps": 0,
        "stopped_early": False,
        "seconds": 0.0,
    }


def _gives_up(story: Mapping[str, Any], recipe: Recipe) -> bool:
    """Say whether as many epochs as the recipe's patience have brought nothing better."""
    return bool(recipe.patience) and len(story["epochs"]) - story["best_epoch"] >= recipe.patience


def _close_epoch(story: dict[str, Any], epoch: int, scored: DevRecall, step: int) -> bool:
    """Write an epoch into the story; return whether it is the best so far."""
    before = story["epochs"][story["best_epoch"] - 1] if story["best_epoch"] else story["start"]
    best = scored.mean > DevRecall(**before).mean
    story["epochs"].append(asdict(scored))
    story["steps"] = step
    if best:
        story["best_epoch"] = epoch
    return best


def _stop_if_worse_than_the_start(
    story: dict[str, Any], dev: Sequence[CaptionedPhoto], folder: RunFolder
) -> None:
    """Raise TrainingStoppedError if the first epoch undid what the start knew."""
    start, now = DevRecall(**story["start"]), DevRecall(**story["epochs"][-1])
    chance = 100 * min(1.0, 10 / len(dev))
    if (
        len(story["epochs"]) == 1
        and start.text_to_image[2] > MEANINGFUL_START * chance
        and now.mean < start.mean
    ):
        raise TrainingStoppedError(
            f"after one epoch the model is worse than it was (dev mean recall {now.mean:.1f}, before"
            f" {start.mean:.1f}): lower the learning rates. {folder.directory} holds the start, unchanged"
        )


def _share_of_peak(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step, as a share of its peak: linear warm-up, then a cosine to zero."""
    warm = recipe.warmup_share * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    if recipe.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm))) / 2


def _run(story: Mapping[str, Any]) -> Run:
    return Run(
        start=DevRecall(**story["start"]),
        epochs=[DevRecall(**epoch) for epoch in story["epochs"]],
        best_epoch=story["best_epoch"],
        steps=story["steps"],
        stopped_early=story["stopped_early"],
    )
