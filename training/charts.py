"""The curves of a training run as inline SVG: text stays text, and the page's own colours are used.

Matplotlib draws with colours that stand for the page's CSS variables, so one drawing serves light, dark and
paper. Shapes are small (as wide as a telephone), and grow with the page.
"""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from training.markup import Html, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_IN = (4.6, 2.6)
FONT_SIZE = 8.5
MOST_POINTS = 600
"""Points of a curve over steps; more steps are averaged, neighbours together."""

ROUND = (1, 2, 5, 10)
"""Distances between an axis's numbers, and their multiples by ten."""

# What stands in the drawing for what the page decides.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
LINES = ("#040404", "#050505", "#060606")
_OF_THE_PAGE = {
    INK: "currentColor", MUTED: "var(--muted)", RULE: "var(--rule)",
    LINES[0]: "var(--line-1)", LINES[1]: "var(--line-2)", LINES[2]: "var(--line-3)",
}  # fmt: skip
_STYLE: Any = {
    "svg.fonttype": "none", "font.size": FONT_SIZE, "text.color": INK,
    "axes.edgecolor": RULE, "axes.labelcolor": MUTED, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": RULE, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.major.size": 0, "ytick.major.size": 0, "lines.solid_capstyle": "round",
}  # fmt: skip


def points_per_mean(steps: int) -> int:
    """Return how many neighbouring steps a point of loss_chart is the mean of."""
    return max(1, -(-steps // MOST_POINTS))


def loss_chart(steps: Sequence[Mapping[str, Any]], name: str) -> Html:
    """Draw the loss of each step, thin, and the mean of each epoch, thick.

    Args:
        steps: lines of steps.jsonl, in order; a loss that is no number leaves a gap.
        name: of the drawing, unique in its page.
    """

    def draw(axes: "Axes") -> None:
        number, loss = (np.array([each[key] for each in steps], np.float64) for key in ("step", "loss"))
        together = points_per_mean(len(steps))
        axes.plot(_means(number, together), _means(loss, together), color=LINES[2], linewidth=0.9)
        for epoch in sorted({each["epoch"] for each in steps}):
            own = [each for each in steps if each["epoch"] == epoch]
            mean = float(np.mean([each["loss"] for each in own]))
            if np.isfinite(mean):
                axes.plot([own[0]["step"] - 1, own[-1]["step"]], [mean, mean], color=LINES[0], linewidth=2.2)
        axes.set_xlabel("step")

    return _drawn(draw, name, f"Line chart: the loss of each of {len(steps):,} steps, and each epoch's mean")


def rate_chart(steps: Sequence[Mapping[str, Any]], name: str) -> Html:
    """Draw the learning rate in percent of its peak, over the steps; arguments as in loss_chart."""

    def draw(axes: "Axes") -> None:
        kept = steps[:: points_per_mean(len(steps))]
        axes.plot(
            [each["step"] for each in kept],
            [100 * each["share_of_peak_rate"] for each in kept],
            color=LINES[0],
            linewidth=1.6,
        )
        axes.set_ylim(0, 105)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.set_xlabel("step")

    return _drawn(draw, name, "Line chart: the learning rate of each step, in percent of its peak")


def recall_chart(recalls: Sequence[Sequence[float]], kept_epoch: int, name: str, direction: str) -> Html:
    """Draw recall at 1, 5 and 10 over the epochs.

    Args:
        recalls: of the start (epoch 0) and of each epoch, three percentages.
        kept_epoch: whose weights the checkpoint has; it is marked.
        name: of the drawing, unique in its page.
        direction: for those who hear the page: "text to image".
    """

    def draw(axes: "Axes") -> None:
        epochs = range(len(recalls))
        highest = max(map(max, recalls))
        top = min(100.0, 10 * (highest // 10 + 1))
        axes.axvline(kept_epoch, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate(
            "kept", (kept_epoch, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", color=MUTED,
        )  # fmt: skip
        curves = list(zip(*recalls, strict=True))
        labels = _apart([curve[-1] for curve in curves], 0.085 * top)
        for k, curve, colour, label in zip((1, 5, 10), curves, reversed(LINES), labels, strict=True):
            axes.plot(epochs, curve, color=colour, linewidth=1.6, marker="o", markersize=2.6)
            axes.annotate(
                f"R@{k}", (epochs[-1], label), (6, 0), textcoords="offset points", va="center", color=INK,
                annotation_clip=False,
            )  # fmt: skip
        axes.set_xlim(-0.25, len(recalls) - 1 + (0.25 if len(recalls) > 1 else 0.75))
        axes.set_ylim(0, top)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.set_xlabel("epoch")

    return _drawn(
        draw, name, f"Line chart: {direction} recall at 1, 5 and 10 on the dev photos, epoch by epoch"
    )


def _drawn(draw: Any, name: str, title: str) -> Html:
    """Return what draw puts on a pair of axes, as an SVG element that says what it shows."""
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    svg = StringIO()
    with rc_context():
        rcdefaults()  # whatever the user's own matplotlibrc says
        rcParams.update(_STYLE | {"svg.hashsalt": name})
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=ROUND))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND))
        figure.savefig(svg, format="svg", transparent=True)
    return _for_a_page(svg.getvalue(), name, title)


def _for_a_page(svg: str, name: str, title: str) -> Html:
    """Return matplotlib's SVG file as an element of a page: no preamble, its own ids, the page's colours."""
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="([^"]+)"', body)
    assert view is not None
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"#0[1-6]0[1-6]0[1-6]", lambda colour: _OF_THE_PAGE[colour[0]], body)
    heading = element("title", title, id=f"{name}-title")
    return element("svg", heading, Html(body), viewBox=view[1], role="img", aria_labelledby=f"{name}-title")


def _means(values: "np.ndarray[Any, np.dtype[np.float64]]", together: int) -> "np.ndarray[Any, Any]":
    """Return the mean of each run of neighbours; the last may be of fewer."""
    starts = np.arange(0, len(values), together)
    return np.asarray(np.add.reduceat(values, starts) / np.diff([*starts, len(values)]))


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return where labels of curves, lowest first, go so that none lies on another."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    return placed
