"""`image-retrieval train`: captions and photos -> a checkpoint of one's own, and what it gained."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from app.service import DEFAULT_MODEL
from embedding.encoder import load_encoder
from training.captions import load_captioned_photos
from training.dev_recall import DevRecall
from training.errors import StartError
from training.photos import CaptionedPhoto
from training.recipe import Recipe, choose_recipe
from training.run_folder import RunFolder
from training.splits import (
    Splits,
    check_photos,
    find_duplicates,
    split_as_given,
    split_at_random,
    split_by_lists,
    without_duplicates,
)

LIBRARIES = ("accelerate", "matplotlib", "peft")
FEW_PHOTOS = 1000
BATCHES_PER_EPOCH = 8
"""With fewer photos than this many default batches, the batch shrinks instead of the number of steps."""


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What `image-retrieval train` was asked for."""

    captions: Path
    images: Path | None
    out: Path
    model: str | None = None
    vision_tower: str | None = None
    text_tower: str | None = None
    dimension: int = 512
    preset: str = "recommended"
    train_list: Path | None = None
    dev_list: Path | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    """Fields of Recipe that differ from the preset's."""


def run_training(request: TrainingRequest, *, tells: bool = True) -> None:
    """Train, and say what was gained and how to use it; of several processes one tells.

    Raises:
        TrainingError, EmbeddingError: as load_captioned_photos, the splits, the towers and train say.
        ValueError: a recipe that no run can mean.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise StartError(
            f"training needs {', '.join(missing)}, which is missing: pip install 'image-retrieval[training]'"
        )
    say = click.echo if tells else _nothing
    photos = load_captioned_photos(request.captions, request.images)
    splits, data = choose_photos(photos, train_list=request.train_list, dev_list=request.dev_list, say=say)

    from training.towers import join_towers, open_checkpoint
    from training.train import train

    joined = request.vision_tower is not None
    recipe = _fit_to_photos(
        choose_recipe(request.preset, joined=joined, asked=request.asked), len(splits.train), request.asked
    )
    if request.vision_tower is not None:
        assert request.text_tower is not None
        towers = join_towers(
            request.vision_tower, request.text_tower, dimension=request.dimension, seed=recipe.seed
        )
    else:
        towers = open_checkpoint(request.model or DEFAULT_MODEL)
    say(f"training {towers.origin} on {_where()}; the run's folder is {request.out}")
    identity = {"start": towers.origin, "recipe": asdict(recipe), "data": data}
    with _shown(tells) as progress:
        run = train(
            towers, splits.train, splits.dev, recipe, RunFolder(request.out),
            identity=identity, progress=progress,
        )  # fmt: skip
    after = run.epochs[run.best_epoch - 1] if run.best_epoch else run.start
    if run.stopped_early:
        say(f"stopped early: no better dev recall for {recipe.patience} epochs")
    if run.best_epoch:
        say(
            f"best after epoch {run.best_epoch} of {len(run.epochs)}; recall on {len(splits.dev)} dev photos:"
        )
    else:
        say(f"no epoch was better than the start, which {request.out} holds unchanged; recall on dev photos:")
    for name, before_way, after_way in (
        ("text → image", run.start.text_to_image, after.text_to_image),
        ("image → text", run.start.image_to_text, after.image_to_text),
    ):
        figures = "   ".join(
            f"R@{k} {one:5.1f} → {other:5.1f}"
            for k, one, other in zip((1, 5, 10), before_way, after_way, strict=True)
        )
        say(f"  {name}   {figures}")
    if tells:
        from training.report import write_report

        page = write_report(
            request.out,
            before=None if towers.joined else load_encoder(towers.origin, precision="float32"),
            after=load_encoder(str(request.out), precision="float32"),
            dev=splits.dev,
        )
        say(f"what it gained, as a page: {page}")
    say(f"search with it: image-retrieval index PATH --model {request.out}")


def choose_photos(
    photos: Sequence[CaptionedPhoto],
    *,
    train_list: Path | None,
    dev_list: Path | None,
    say: Callable[[str], None],
) -> tuple[Splits, dict[str, Any]]:
    """Split the photos, leave out those that cannot be used, and say what was left out."""
    if dev_list is not None:
        splits = split_by_lists(photos, train_list, dev_list)
    elif any(photo.split for photo in photos):
        splits = split_as_given(photos)
    else:
        splits = split_at_random(photos, dev_share=0.1 if len(photos) >= FEW_PHOTOS else 0.2)
    checked = {name: check_photos(getattr(splits, name)) for name in ("train", "dev", "test")}
    failed = [each for of_one in checked.values() for each in of_one.failed]
    for name, reason in failed[:10]:
        say(f"left out: {name}: {reason}")
    if len(failed) > 10:
        say(f"left out: {len(failed) - 10} more photos that cannot be read")
    duplicates = find_duplicates(checked)
    usable = without_duplicates(Splits(*(tuple(of_one.photos) for of_one in checked.values())), duplicates)
    if dropped := len(checked["train"].photos) - len(usable.train):
        say(f"{dropped} photos to learn from are also among those to score by; left out of the former")
    captions = sum(len(photo.captions) for photo in usable.train)
    say(f"{len(usable.train):,} photos, {captions:,} captions to learn from; {len(usable.dev):,} to score by")
    if len(usable.train) < FEW_PHOTOS:
        say(
            f"{len(usable.train)} photos are few: expect a modest gain. Recall over {len(usable.dev)} photos"
            f" is good to about ±{100 / max(1, len(usable.dev)) ** 0.5:.0f} points. More photos help more"
            " than longer training"
        )
    return usable, {
        "photos": len(usable.train),
        "captions": captions,
        "dev_photos": len(usable.dev),
        "failed": len(failed),
        "duplicates": len(duplicates),
        "digest": _digest(usable),
    }


def _fit_to_photos(recipe: Recipe, photos: int, asked: dict[str, Any]) -> Recipe:
    """Return the recipe with a batch that few photos fill several times over, unless one was asked for."""
    if "batch_size" in asked or photos >= BATCHES_PER_EPOCH * recipe.batch_size:
        return recipe
    size = max(2, photos // BATCHES_PER_EPOCH)
    return replace(recipe, batch_size=min(recipe.batch_size, size))


def _nothing(_line: str) -> None:
    """Tell nobody."""


def _digest(splits: Splits) -> str:
    """Return SHA-256 (hex) of which photos and captions there are: other data is another run."""
    digest = hashlib.sha256()
    for photo in (*splits.train, *splits.dev):
        digest.update("\0".join((photo.name, *photo.captions, "\n")).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _where() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} GPU(s)"
    return f"the processor ({torch.get_num_threads()} threads)"


class _Shown:
    """One bar with loss, rate and time left; on no terminal, a line an epoch."""

    def __init__(self, bars: Bars, tells: bool) -> None:
        self._bars = bars
        self._tells = tells
        self._task: TaskID | None = None

    def step(self, step: int, steps: int, *, epoch: int, loss: float, photos_per_s: float) -> None:
        if self._task is None:
            self._task = self._bars.add_task("", total=steps)
        text = f"epoch {epoch}, loss {loss:.3f}, {photos_per_s:,.0f} photos/s"
        self._bars.update(self._task, completed=step, description=text)

    def epoch(self, epoch: int, dev: DevRecall, *, best: bool) -> None:
        recall = "/".join(f"{value:.1f}" for value in dev.text_to_image)
        back = "/".join(f"{value:.1f}" for value in dev.image_to_text)
        name = f"epoch {epoch}" if epoch else "before"
        line = f"{name}: dev R@1/5/10 text → image {recall}, image → text {back}"
        if best and epoch:
            line += ", the best so far"
        if self._tells:
            self._bars.console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def _shown(tells: bool) -> Iterator[_Shown]:
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (tells and sys.stderr.isatty()),
    ) as bars:
        yield _Shown(bars, tells)
