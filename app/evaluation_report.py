"""An evaluation, told: as one JSON object, and as tables for people."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from app.evaluating import Answers, Estimates, Evaluation
from training.bootstrap import CONFIDENCE, Estimate
from training.metrics import RETRIEVAL, Measured
from training.questions import Place

DIRECTIONS = ("text_to_image", "image_to_text")
TITLES = {
    "image_to_image": "A photo asks for photos like it",
    "hybrid": "A caption and another photo ask for a photo, by the weight of the words",
    "long_queries": "All captions of a photo ask for it at once",
    "corruptions": "Captions ask for their photo among bad photos (retention: percent of R@5 on good ones)",
}
SHORT = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "median_rank": "median rank",
    "mean_rank": "mean rank",
    "mean_reciprocal_rank": "MRR",
    "map_at_10": "mAP@10",
    "ndcg_at_10": "nDCG@10",
    "precision_at_5": "P@5",
    "retention_at_5": "retention",
    "rsum": "RSUM",
}
WIDTH = 118
"""Columns of the tables where nobody's terminal says."""


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return plain JSON values; what is not known is null. docs/evaluation.md says what each figure means."""
    ours = evaluation.ours
    answer = _figures(ours, evaluation.estimates) | {
        "photos": len(ours.photos),
        "captions": sum(len(photo.captions) for photo in ours.photos),
        "failed": [{"path": failure.path, "error": failure.error} for failure in ours.failed],
        "encoder": _encoder(ours),
        "through": evaluation.request.through,
        "samples": evaluation.request.samples,
        "confidence": CONFIDENCE,
    }
    if ours.gallery is not None:
        answer["gallery"] = ours.gallery
    if evaluation.other is not None:
        other = _figures(evaluation.other, evaluation.other_estimates)
        differences = _nested({place: _verdicts(one) for place, one in evaluation.differences.items()})
        differences["rsum"] = differences["rsum"]["rsum"]
        answer["comparison"] = other | {"encoder": _encoder(evaluation.other), "differences": differences}
    return answer


def print_evaluation(evaluation: Evaluation) -> None:
    """Print tables: each figure, and below it its interval."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    ours = evaluation.ours
    captions = sum(len(photo.captions) for photo in ours.photos)
    where = "" if ours.gallery is None else f", through the service, among {ours.gallery:,} pictures"
    console.print(
        Text(f"{ours.encoder.checkpoint}: {len(ours.photos):,} photos, {captions:,} captions{where}")
    )
    for failure in ours.failed:
        console.print(Text(f"failed: {failure.error}"))
    if not ours.photos:
        console.print("no photo can be read, so nothing is evaluated")
        return
    for part in _tables(ours.measured, evaluation.estimates):
        console.print(part)
    if ours.truncated:
        console.print(f"{ours.truncated:,} joined texts are longer than the encoder reads")
    if evaluation.other is not None:
        for part in _comparison(evaluation, evaluation.other):
            console.print(part)
    console.print(
        f"below each figure its {CONFIDENCE:.0%} interval, from {evaluation.request.samples:,} resamples of"
        " the photos",
        style="dim",
    )


def _figures(answers: Answers, found: Estimates) -> dict[str, Any]:
    """Return the figures of one encoder; the two directions and RSUM are always there, if only as null."""
    leaves: dict[Place, dict[str, Any]] = {}
    for place, one in found.items():
        if place == ("rsum",):
            continue
        measured = answers.measured[place]
        names = RETRIEVAL if place[0] in DIRECTIONS else measured.names
        leaves[place] = {
            **{name: _rounded(one[name].value) if name in one else None for name in names},
            "intervals": {name: _interval(one[name]) if name in one else None for name in names},
            "photos": measured.photos,
            "questions": measured.questions,
        }
    rsum = found[("rsum",)]["rsum"] if ("rsum",) in found else None
    answer: dict[str, Any] = dict.fromkeys(DIRECTIONS)
    answer |= _nested(leaves)
    answer["rsum"] = None if rsum is None else _rounded(rsum.value)
    answer["rsum_interval"] = None if rsum is None else _interval(rsum)
    if "long_queries" in answer:
        answer["long_queries"]["truncated"] = answers.truncated
    return answer


def _verdicts(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        name: {"difference": _rounded(one.value), "interval": _interval(one), "verdict": _verdict(one)}
        for name, one in found.items()
    }


def _verdict(difference: Estimate) -> str:
    return "differs" if difference.differs else "does not differ"


def _encoder(answers: Answers) -> dict[str, str]:
    return {"checkpoint": answers.encoder.checkpoint, "fingerprint": answers.encoder.fingerprint}


def _nested(leaves: Mapping[Place, Any]) -> dict[str, Any]:
    """Turn {("hybrid", "0.2"): x} into {"hybrid": {"0.2": x}}."""
    whole: dict[str, Any] = {}
    for place, leaf in leaves.items():
        folder = whole
        for part in place[:-1]:
            folder = folder.setdefault(part, {})
        folder[place[-1]] = leaf
    return whole


def _interval(one: Estimate) -> list[float | None]:
    return [_rounded(one.low), _rounded(one.high)]


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _tables(measured: Mapping[Place, Measured], found: Estimates) -> Iterator[RenderableType]:
    yield "\nCaptions ask for photos, photos for captions"
    rows = {place: one for place, one in found.items() if place[0] in DIRECTIONS}
    yield _table({place[0]: one for place, one in rows.items()}, RETRIEVAL)
    if (rsum := found.get(("rsum",))) is not None:
        yield Text("RSUM ").append_text(_cell(rsum["rsum"], between="  "))
    for kind, title in TITLES.items():
        rows = {place: one for place, one in found.items() if place[0] == kind}
        if rows:
            first = measured[next(iter(rows))]
            yield f"\n{title}: {first.questions:,} questions"
            yield _table({" ".join(place[1:]): one for place, one in rows.items()}, first.names)


def _table(rows: Mapping[str, Mapping[str, Estimate]], names: Sequence[str]) -> Table:
    """Return a row for each kind of question and a column for each figure."""
    table = Table(*([""] if any(rows) else []), *(Column(SHORT[name], justify="right") for name in names))
    for row, one in rows.items():
        heading = [row.replace("_", " ")] if any(rows) else []
        table.add_row(*heading, *(_cell(one[name]) if name in one else "" for name in names))
    return table


def _comparison(evaluation: Evaluation, other: Answers) -> Iterator[RenderableType]:
    yield Text(f"\nCompared with {other.encoder.checkpoint}: the difference is this less the other")
    table = Table(
        "",
        "figure",
        *(
            Column(heading, justify="right", no_wrap=True)
            for heading in ("this", "the other", "difference", "interval")
        ),
        Column(no_wrap=True),
    )
    for place, found in evaluation.differences.items():
        for name, one in found.items():
            table.add_row(
                " ".join(place).replace("_", " "),
                SHORT[name],
                _number(evaluation.estimates[place][name].value),
                _number(evaluation.other_estimates[place][name].value),
                _number(one.value, sign="+"),
                f"{_number(one.low, sign='+')} to {_number(one.high, sign='+')}",
                Text(_verdict(one), style="bold" if one.differs else "dim"),
            )
    yield table
    yield Text("lower is better for ranks, higher for all else", style="dim")


def _cell(one: Estimate, between: str = "\n") -> Text:
    interval = f"{_number(one.low)}–{_number(one.high)}"
    return Text(_number(one.value)).append(f"{between}{interval}", style="dim")


def _number(value: float, *, sign: str = "") -> str:
    """Return three or four digits, as the size of the figure asks for."""
    if not math.isfinite(value):
        return "?"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:{sign}.{digits}f}"
