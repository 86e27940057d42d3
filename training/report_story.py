"""A run's story (training.json) in words: what was learnt from, how, for how long, and what came of it."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from training.recipe import RECIPE_FIELDS, Recipe

MINUS, PERCENT = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}%"


def what_came_of_it(story: Mapping[str, Any]) -> str:
    """Return how the run ended."""
    epochs, best = len(story["epochs"]), story["best_epoch"]
    planned = story["identity"].get("recipe", {}).get("epochs", epochs)
    if not story["finished"]:
        return f"The run is not finished: {epochs} of {planned} epochs are done."
    if story["stopped_early"]:
        patience = story["identity"].get("recipe", {}).get("patience")
        why = f" for {counted(patience, 'epoch')}" if patience else ""
        ended = f"The run stopped early, after {epochs} of {planned} epochs: no better dev recall{why}."
    else:
        ended = f"The run is complete: {counted(epochs, 'epoch')}."
    if best:
        return f"{ended} The checkpoint is that of epoch {best}, the best on the dev photos."
    return f"{ended} No epoch did better on the dev photos than the start, so the checkpoint is the start."


def learnt_from(story: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a run learnt from, as names and words; what was not noted is left out."""
    data = story["identity"].get("data", {})
    facts = []
    if "photos" in data:
        captions = f" with {counted(data['captions'], 'caption')}" if "captions" in data else ""
        facts.append(("Learnt from", f"{counted(data['photos'], 'photo')}{captions}"))
    left_out = []
    if failed := data.get("failed"):
        left_out.append(f"{counted(failed, 'photo')} that could not be read")
    if pairs := data.get("duplicates"):
        left_out.append(f"photos that are in another split, too ({counted(pairs, 'pair')})")
    if left_out:
        facts.append(("Left out", "; ".join(left_out)))
    return facts


def recipe_in_words(values: Mapping[str, Any]) -> str:
    """Return a recipe as sentences; fields that are not there are taken to be the default's."""
    recipe = Recipe(**{name: value for name, value in values.items() if name in RECIPE_FIELDS})
    told = [_pairs_in_words(recipe), _rates_in_words(recipe)]
    if recipe.freeze != "none":
        frozen = recipe.freeze.replace("+", " and ")
        told.append(f"The {frozen} tower{'s stay' if '+' in recipe.freeze else ' stays'} as it came")
    if recipe.lora_rank:
        told.append(f"Only additions of rank {recipe.lora_rank} to the towers' matrices are learnt (LoRA)")
    if recipe.ema_decay:
        told.append(f"Scored and kept is a moving average of the weights, decay {recipe.ema_decay:g}")
    if recipe.distillation:
        told.append(
            f"{recipe.distillation * 100:.0f}{PERCENT} of the target is how alike the start finds captions"
        )
    augmented = [
        name
        for name, is_so in (("photos", recipe.augment_photos), ("captions", recipe.augment_captions))
        if is_so
    ]
    told.append(
        f"{' and '.join(augmented).capitalize()} are varied mildly" if augmented else "Nothing is augmented"
    )
    if recipe.patience:
        told.append(f"It stops after {counted(recipe.patience, 'epoch')} without a better dev recall")
    told.append(f"Seed {recipe.seed}")
    return ". ".join(told) + "."


def without_folders(name: str) -> str:
    """Return the last part of each path in a start's name; hub names and relative paths as they are."""
    return " + ".join(
        PureWindowsPath(part).name if _is_absolute(part) else part for part in name.split(" + ")
    )


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def rate(value: float) -> str:
    """Return a learning rate as papers print it: 1e−5, 0.002; with a minus sign, where no line breaks."""
    return re.sub(r"e-0*", f"e{MINUS}", f"{value:g}")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: 1 photo, 6,000 photos."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _pairs_in_words(recipe: Recipe) -> str:
    size = f"{counted(recipe.epochs, 'epoch')} of batches of {recipe.batch_size:,}"
    if recipe.accumulation > 1:
        size += f" ({recipe.accumulation} batches a step)"
    if recipe.pairs == "plain":
        how = "pairs of a photo and a caption, all of them, shuffled"
    else:
        how = f"photos, each once a batch with {counted(recipe.texts_per_photo, 'caption')} of its own"
    loss = {"infonce": "CLIP's loss (InfoNCE)", "sigmoid": "SigLIP's loss"}[recipe.loss]
    return f"{size} {how}; {loss}"


def _rates_in_words(recipe: Recipe) -> str:
    rates = (
        f"AdamW, peak rates {rate(recipe.image_learning_rate)} (image tower),"
        f" {rate(recipe.text_learning_rate)} (text tower), {rate(recipe.head_learning_rate)} (projections);"
        f" weight decay {recipe.weight_decay:g}"
    )
    if recipe.layer_decay < 1:
        rates += f"; each layer's rate is {recipe.layer_decay:g} of the next one's"
    warm = (
        f"rising over the first {recipe.warmup_share * 100:.0f}{PERCENT} of the steps"
        if recipe.warmup_share
        else ""
    )
    then = {"cosine": "falling to nothing along a cosine", "constant": "constant"}[recipe.schedule]
    rates += f"; the rates are {', then '.join(filter(None, (warm, then)))}"
    if recipe.max_gradient_norm:
        rates += f"; gradients cut to length {recipe.max_gradient_norm:g}"
    return rates


def _is_absolute(path: str) -> bool:
    return (
        PurePosixPath(path).is_absolute()
        or PureWindowsPath(path).is_absolute()
        or path.startswith(("~", "."))
    )
