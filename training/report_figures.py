"""A report's figures: how both encoders did on the dev photos, with intervals; a sentence and a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from embedding.encoder import Encoder
from training.bootstrap import SAMPLES, Estimate, differences, estimates
from training.encoded_gallery import EncodedGallery
from training.markup import Html, element, scrolled
from training.metrics import RECALLS, Measured
from training.questions import CaptionRanks, Place
from training.report_story import MINUS, PERCENT, counted

DIRECTIONS = {"text_to_image": "Text to image", "image_to_text": "Image to text"}
TITLES = dict(zip(RECALLS, ("R@1", "R@5", "R@10"), strict=True))
NEVER_MET = "Two towers that had never met: their answers were chance."
TO = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Examined:
    """An encoder, and how it did on the dev photos."""

    encoder: Encoder
    gallery: EncodedGallery
    ranks: CaptionRanks
    measured: dict[Place, Measured]


@dataclass(frozen=True, slots=True)
class Figures:
    """Both encoders' figures by direction and name; before and change are None where there was no before."""

    after: Mapping[str, Mapping[str, Estimate]]
    before: Mapping[str, Mapping[str, Estimate]] | None
    change: Mapping[str, Mapping[str, Estimate]] | None


def compare(start: Examined | None, ours: Examined) -> Figures:
    """Return evaluation's figures, with evaluation's intervals."""
    after = _by_direction(ours)
    if start is None:
        return Figures(estimates(after), None, None)
    before = _by_direction(start)
    return Figures(estimates(after), estimates(before), differences(after, before))


def lead(figures: Figures, ours: Examined) -> Html:
    """Return what the run came to, in two sentences."""
    direction, name = "text_to_image", "recall_at_5"
    told = (
        f"Of {counted(len(ours.gallery.photos), 'photo')}, the right one is among the first five for"
        f" {figures.after[direction][name].value:.1f}{PERCENT} of the captions"
    )
    if figures.before is None or figures.change is None:
        return element("p", f"{told}. It began as two towers that had never met.", class_="lead")
    change = figures.change[direction][name]
    told += f"; before training it was for {figures.before[direction][name].value:.1f}{PERCENT}."
    if change.differs:
        told += f" That is {abs(change.value):.1f} points {'more' if change.value > 0 else 'less'}."
    else:
        told += " That difference may be the luck of the photos."
    return element("p", told, class_="lead")


def comparison(figures: Figures, ours: Examined) -> Html:
    """Return the table of recall before and after, with intervals."""
    heads = ["", "Before", "After", *(["Change"] if figures.change else [])]
    bodies = [
        element(
            "tbody",
            element(
                "tr",
                element("th", title, colspan=str(len(heads)), scope="rowgroup"),
                class_="direction",
            ),
            *(_row(figures, direction, name, is_first=name == RECALLS[0]) for name in RECALLS),
        )
        for direction, title in DIRECTIONS.items()
    ]
    table = element(
        "table",
        element("caption", "Recall on the dev photos in percent, with 95 % intervals"),
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        *bodies,
        class_="figures comparison",
    )
    captions, photos = len(ours.gallery.texts), len(ours.gallery.photos)
    note = (
        "R@k is the share of questions answered among the first k hits. Text to image:"
        f" {counted(captions, 'caption')} ask {counted(photos, 'photo')}, each for its own. Image to text:"
        " each photo asks all captions for any of its own. Intervals come from"
        f" {SAMPLES:,} resamples of the photos"
    )
    if figures.change:
        note += ", the same ones before and after; a change in bold has an interval that leaves out 0"
    return element(
        "section", element("h2", "Before and after"), scrolled(table), element("p", f"{note}.", class_="note")
    )


def _row(figures: Figures, direction: str, name: str, *, is_first: bool) -> Html:
    """Return a table's row; without a before, a direction's first row says so for them all."""
    cells = [element("th", TITLES[name], scope="row")]
    after = _cell(figures.after[direction][name])
    if figures.before is None or figures.change is None:
        never = [element("td", NEVER_MET, rowspan=str(len(RECALLS)), class_="never")] if is_first else []
        return element("tr", *cells, *never, after)
    change = figures.change[direction][name]
    cells += [_cell(figures.before[direction][name]), after]
    return element("tr", *cells, _cell(change, sign="+", class_="clear" if change.differs else "unclear"))


def _cell(estimate: Estimate, *, sign: str = "", class_: str = "plain") -> Html:
    value, low, high = (
        format(each, f"{sign}z.1f").replace("-", MINUS)
        for each in (estimate.value, estimate.low, estimate.high)
    )
    between = " to " if sign else TO
    return element(
        "td",
        element("span", value, class_="value"),
        " ",
        element("span", f"{low}{between}{high}", class_="interval"),
        class_=class_,
    )


def _by_direction(examined: Examined) -> dict[str, Measured]:
    return {direction: examined.measured[direction,] for direction in DIRECTIONS}
