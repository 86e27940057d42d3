"""An evaluation in three pictures (SVG): recall over k, where photos are found, what bad photos leave."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from app.evaluating import Answers, Evaluation

MOST_K = 100
COLOURS = ("#3366aa", "#cc7722")
_REPRODUCIBLE = {"Date": None, "Creator": None}


def write_plots(evaluation: Evaluation, directory: Path) -> list[Path]:
    """Write recall.svg, ranks.svg and retention.svg, as far as what they show was asked; return their paths.

    Raises:
        OSError: the folder cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    encoders = [evaluation.ours, *([evaluation.other] if evaluation.other else [])]
    figures = {"recall": _recall(encoders), "ranks": _ranks(encoders), "retention": _retention(evaluation)}
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(directory / f"{name}.svg")
            figure.savefig(paths[-1], format="svg", metadata=_REPRODUCIBLE)
    return paths


def _recall(encoders: Sequence[Answers]) -> Figure | None:
    """Recall at every k up to 100, both directions, with the k that are usually told marked."""
    if not encoders[0].ranks:
        return None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    k = np.arange(1, MOST_K + 1)
    for answers, colour in zip(encoders, COLOURS, strict=False):
        for (direction, ranks), line in zip(answers.ranks.items(), ("-", "--"), strict=True):
            recall = 100 * (ranks[:, None] <= k).mean(axis=0)
            name = f"{_short(answers)}, {direction.replace('_', ' ')}"
            axes.plot(k, recall, line, color=colour, label=name)
            axes.plot((1, 5, 10), recall[[0, 4, 9]], "o", color=colour, markersize=4)
    axes.set(xscale="log", xlabel="k", ylabel="found among the first k (%)", ylim=(0, 101), xlim=(1, MOST_K))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _ranks(encoders: Sequence[Answers]) -> Figure | None:
    """How many captions find their photo at which rank, in ranges that double."""
    if not encoders[0].ranks:
        return None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    most = max(int(answers.ranks["text_to_image"].max()) for answers in encoders)
    edges = 2 ** np.arange(int(np.log2(most)) + 2)
    places = np.arange(len(edges) - 1)
    width = 0.8 / len(encoders)
    for number, (answers, colour) in enumerate(zip(encoders, COLOURS, strict=False)):
        counted, _ = np.histogram(answers.ranks["text_to_image"], edges)
        axes.bar(places + number * width, counted, width, color=colour, label=_short(answers), align="edge")
    labels = [f"{low}" if low == high - 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    axes.set_xticks(places + 0.4, labels, rotation=45)
    axes.set(xlabel="rank of the photo", ylabel="captions")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return figure


def _retention(evaluation: Evaluation) -> Figure | None:
    """What is left of R@5 when photos are bad, at the three severities, with intervals."""
    encoders = [(evaluation.ours, evaluation.estimates)]
    if evaluation.other:
        encoders.append((evaluation.other, evaluation.other_estimates))
    places = [place for place in evaluation.estimates if place[0] == "corruptions" and place[2] != "mean"]
    if not places:
        return None
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(places))
    width = 0.8 / len(encoders)
    for number, ((answers, found), colour) in enumerate(zip(encoders, COLOURS, strict=False)):
        kept = [found[place]["retention_at_5"] for place in places]
        value = np.array([one.value for one in kept])
        reach = np.abs([[one.value - one.low for one in kept], [one.high - one.value for one in kept]])
        axes.bar(at + number * width, value, width, color=colour, label=_short(answers), align="edge")
        axes.errorbar(at + (number + 0.5) * width, value, reach, fmt="none", ecolor="black", capsize=2)
    axes.axhline(100, color="grey", linewidth=0.8)
    axes.set_xticks(at + 0.4, [f"{kind} {severity}" for _, kind, severity in places], rotation=45)
    axes.set(ylabel="R@5, percent of that on good photos")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return figure


def _short(answers: Answers) -> str:
    return Path(answers.encoder.checkpoint).name
