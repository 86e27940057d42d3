"""An evaluation in three pictures (SVG): recall over k, where photos are found, what bad photos leave."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.evaluating import Answers, Estimates, Evaluation
from training.evaluate import recall_at_k
from training.metrics import Ranks

MOST_K = 100
COLOURS = ("#3366aa", "#cc7722")
Numbers = NDArray[np.generic]
_REPRODUCIBLE = {"Date": None, "Creator": None}


def write_plots(evaluation: Evaluation, directory: Path) -> list[Path]:
    """Write recall.svg, ranks.svg and retention.svg, as far as what they show was asked; return their paths.

    Raises:
        OSError: the folder cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    encoders = {_name(evaluation.ours): evaluation.ours.ranks}
    retention = {_name(evaluation.ours): evaluation.estimates}
    if evaluation.other is not None:
        name = f"{_name(evaluation.other)} (compared)"
        encoders[name], retention[name] = evaluation.other.ranks, evaluation.other_estimates
    figures = {"recall": _recall(encoders), "ranks": _ranks(encoders), "retention": _retention(retention)}
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(directory / f"{name}.svg")
            figure.savefig(paths[-1], format="svg", metadata=_REPRODUCIBLE)
    return paths


def _recall(encoders: Mapping[str, Mapping[str, Ranks]]) -> Figure | None:
    """Recall at every k up to 100, both directions, with the k that are usually told marked."""
    if not all(encoders.values()):
        return None
    figure, axes = _empty(7)
    k = np.arange(1, MOST_K + 1)
    for (name, by_direction), colour in zip(encoders.items(), COLOURS, strict=False):
        for (direction, ranks), line in zip(by_direction.items(), ("-", "--"), strict=True):
            recall = np.array([recall_at_k(ranks, int(each)) for each in k])
            axes.plot(k, recall, line, color=colour, label=f"{name}, {direction.replace('_', ' ')}")
            axes.plot((1, 5, 10), recall[[0, 4, 9]], "o", color=colour, markersize=4)
    axes.set(xscale="log", xlabel="k", ylabel="found among the first k (%)", ylim=(0, 101), xlim=(1, MOST_K))
    axes.set_xticks((1, 5, 10, 50, MOST_K), ("1", "5", "10", "50", f"{MOST_K}"))
    axes.legend()
    return figure


def _ranks(encoders: Mapping[str, Mapping[str, Ranks]]) -> Figure | None:
    """How many captions find their photo at which rank, in ranges that double."""
    if not all(encoders.values()):
        return None
    figure, axes = _empty(7)
    of_captions = {name: ranks["text_to_image"] for name, ranks in encoders.items()}
    most = max(int(ranks.max()) for ranks in of_captions.values())
    edges = 2 ** np.arange(int(np.log2(most)) + 2)
    bars = {name: np.histogram(ranks, edges)[0] for name, ranks in of_captions.items()}
    _draw_bars(
        axes, bars, [f"{low}" if high - low == 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    )
    axes.set(xlabel="rank of the photo", ylabel="captions")
    return figure


def _retention(encoders: Mapping[str, Estimates]) -> Figure | None:
    """What is left of R@5 when photos are bad, at each severity, with intervals."""
    found = next(iter(encoders.values()))
    places = [place for place in found if place[0] == "corruptions" and place[2] != "mean"]
    if not places:
        return None
    figure, axes = _empty(9)
    kept = {name: [found[place]["retention_at_5"] for place in places] for name, found in encoders.items()}
    bars = {name: np.array([one.value for one in of_encoder]) for name, of_encoder in kept.items()}
    reach = {
        name: np.abs(
            [[one.value - one.low for one in of_encoder], [one.high - one.value for one in of_encoder]]
        )
        for name, of_encoder in kept.items()
    }
    _draw_bars(axes, bars, [f"{kind} {severity}" for _, kind, severity in places], reach)
    axes.axhline(100, color="grey", linewidth=0.8)
    axes.set(ylabel="R@5, percent of that on good photos")
    return figure


def _empty(width: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _draw_bars(
    axes: Axes, bars: Mapping[str, Numbers], labels: Sequence[str], reach: Mapping[str, Numbers] | None = None
) -> None:
    """Draw a group of bars over each label, one of each encoder; reach (2, labels) goes below and above."""
    width = 0.8 / len(bars)
    places = np.arange(len(labels)) - 0.4 + width / 2
    for number, ((name, heights), colour) in enumerate(zip(bars.items(), COLOURS, strict=False)):
        ends = None if reach is None else reach[name]
        axes.bar(places + number * width, heights, width, color=colour, label=name, yerr=ends, capsize=2)
    axes.set_xticks(range(len(labels)), labels, rotation=45)
    axes.legend()


def _name(answers: Answers) -> str:
    return Path(answers.encoder.checkpoint).name
