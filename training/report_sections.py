"""How a run went and what it was made of: curves, the table of epochs, the facts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.charts import loss_chart, points_per_mean, rate_chart, recall_chart
from training.markup import Html, element, scrolled
from training.metrics import RECALLS
from training.recipe import RECIPE_FIELDS
from training.report_figures import DIRECTIONS, TITLES, Examined
from training.report_story import counted, duration, learnt_from, rate, recipe_in_words, without_folders


def curves(story: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Html:
    """Return the charts of loss, learning rate and recall."""
    charts = []
    if steps:
        together = points_per_mean(len(steps))
        each = "each step" if together == 1 else f"the mean of {together} steps"
        charts = [
            _chart("Loss", f"Thin: {each}. Thick: the mean of an epoch.", loss_chart(steps, "loss")),
            _chart("Learning rate", _peaks(story["identity"].get("recipe", {})), rate_chart(steps, "rate")),
        ]
    scored = [story["start"], *story["epochs"]]
    for key, direction in DIRECTIONS.items():
        drawn = recall_chart(
            [each[key] for each in scored], story["best_epoch"], key.replace("_", "-"), direction.lower()
        )
        title = f"Recall, {direction.lower()}"
        charts.append(_chart(title, "On the dev photos; epoch 0 is the start.", drawn))
    return element("section", element("h2", "How training went"), element("div", *charts, class_="charts"))


def epochs(story: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Html:
    """Return the table of loss and recall after each epoch; the start is the first row."""
    losses: dict[int, list[float]] = {}
    for step in steps:
        losses.setdefault(step["epoch"], []).append(step["loss"])
    scored = [story["start"], *story["epochs"]]
    rows = [
        _epoch_row(
            epoch,
            losses.get(epoch, []),
            scored[epoch] if epoch < len(scored) else None,
            is_kept=epoch == story["best_epoch"],
        )
        for epoch in range(max(len(scored), max(losses, default=0) + 1))
    ]
    groups = [("Loss", 2), *((direction, len(RECALLS)) for direction in DIRECTIONS.values())]
    heads = ["Mean", "Last", *TITLES.values(), *TITLES.values()]
    table = element(
        "table",
        element("caption", "Loss, and recall on the dev photos in percent"),
        element(
            "thead",
            element(
                "tr",
                element("th", "Epoch", scope="col", rowspan="2"),
                *(element("th", name, scope="colgroup", colspan=str(width)) for name, width in groups),
            ),
            element("tr", *(element("th", head, scope="col") for head in heads)),
        ),
        element("tbody", *rows),
        class_="figures epochs",
    )
    note = (
        "Measured while training, in float32. The figures under Before and after were measured for this page,"
        " by the encoders as they were loaded for it."
    )
    return element(
        "section", element("h2", "Epoch by epoch"), scrolled(table), element("p", note, class_="note")
    )


def facts(name: str, story: Mapping[str, Any], start: Examined | None, ours: Examined) -> Html:
    """Return what was learnt from, how, and which checkpoint came of it."""
    gallery = ours.gallery
    photos, captions = counted(len(gallery.photos), "dev photo"), counted(len(gallery.texts), "caption")
    scored_by = f"{photos} with {captions}"
    if gallery.encoded.failed:
        scored_by += f"; {counted(len(gallery.encoded.failed), 'more')} could not be read"
    identity = story["identity"]
    told = [*learnt_from(story), ("Scored by", scored_by)]
    if "start" in identity:
        known = "" if start is None else f", fingerprint {start.encoder.fingerprint}"
        told.append(("Start", f"{without_folders(str(identity['start']))}{known}"))
    if recipe := identity.get("recipe"):
        told.append(("Recipe", recipe_in_words(recipe)))
    told += [
        ("Time", f"{counted(story['steps'], 'step')} in {duration(story['seconds'])}"),
        ("Checkpoint", f"the folder {name}, fingerprint {ours.encoder.fingerprint}"),
    ]
    terms = [each for term, words in told for each in (element("dt", term), element("dd", words))]
    return element(
        "section",
        element("h2", "What it was made of"),
        element("dl", *terms),
        *_whole_recipe(identity.get("recipe", {})),
    )


def _whole_recipe(recipe: Mapping[str, Any]) -> list[Html]:
    if not recipe:
        return []
    rows = [
        element(
            "tr",
            element("th", element("code", name), scope="row"),
            element("td", _setting(value), class_="value"),
            element("td", RECIPE_FIELDS[name].metadata["meaning"] if name in RECIPE_FIELDS else ""),
        )
        for name, value in recipe.items()
    ]
    table = element("table", element("tbody", *rows), class_="recipe")
    return [element("details", element("summary", "Every setting of the recipe"), scrolled(table))]


def _epoch_row(
    epoch: int, losses: Sequence[float], scored: Mapping[str, Sequence[float]] | None, *, is_kept: bool
) -> Html:
    mean_and_last = [math.fsum(losses) / len(losses), losses[-1]] if losses else [None] * 2
    recalls = [None] * 6 if scored is None else [value for key in DIRECTIONS for value in scored[key]]
    title = str(epoch) if epoch else "start"
    return element(
        "tr",
        element("th", f"{title} · kept" if is_kept else title, scope="row"),
        *(_number(value, ".3f") for value in mean_and_last),
        *(_number(value, ".1f") for value in recalls),
        class_="kept" if is_kept else "plain",
    )


def _number(value: float | None, form: str) -> Html:
    if value is None:
        return element("td")
    return element("td", format(value, form) if math.isfinite(value) else str(value))


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _chart(title: str, caption: str, drawn: Html) -> Html:
    return element(
        "figure", element("figcaption", element("strong", title), " ", caption), drawn, class_="chart"
    )


def _peaks(recipe: Mapping[str, Any]) -> str:
    parts = {"image": "image tower", "text": "text tower", "head": "projections"}
    peaks = {
        words: rate(recipe[f"{part}_learning_rate"])
        for part, words in parts.items()
        if f"{part}_learning_rate" in recipe
    }
    if len(set(peaks.values())) > 1:
        return f"In percent of its peak: {', '.join(f'{peak} ({words})' for words, peak in peaks.items())}."
    return f"In percent of its peak{''.join(f', {peak}' for peak in set(peaks.values()))}."
