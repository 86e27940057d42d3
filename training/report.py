"""A run's report: one HTML page that needs no network, for whoever wants to know what training gained.

Made of the run's folder (how it went) and of two encoders that answer the dev photos' captions (what came of
it). Figures and intervals are evaluation's own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedding.encoder import Encoder
from training.encoded_gallery import encode_gallery
from training.errors import CheckpointFolderError, EvaluationError
from training.markup import Html, element
from training.photos import CaptionedPhoto
from training.questions import by_captions, rank_captions
from training.report_answers import answers
from training.report_figures import Examined, compare, comparison, lead
from training.report_questions import choose_captions, questions_as_given, questions_of_captions
from training.report_sections import curves, epochs, facts
from training.report_story import what_came_of_it
from training.run_folder import STORY, RunFolder

REPORT = "report.html"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    folder: Path,
    *,
    before: Encoder | None,
    after: Encoder,
    dev: Sequence[CaptionedPhoto],
    questions: Sequence[str] | None = None,
    out: Path | None = None,
) -> Path:
    """Write what a run gained as one HTML page, and return its path.

    Args:
        folder: the run's.
        before: the start; None where it was two towers that had never met.
        after: the checkpoint in the folder. Load both in float32 for the very figures of training.
        dev: photos to ask about; those that cannot be read are left out, and counted on the page.
        questions: to show, in anyone's words; None chooses captions of the dev photos.
        out: the page; None is report.html in the folder.

    Raises:
        CheckpointFolderError: the folder holds no run.
        EvaluationError: there is no dev photo that can be read.
    """
    story = _read_story(folder)
    ours = _examine(after, dev)
    start = None if before is None else _examine(before, dev)
    if start is not None and start.gallery.photos != ours.gallery.photos:
        raise EvaluationError("photos came or went while the report was written; write it again")
    page = _page(folder, story, RunFolder(folder).steps(), start, ours, questions)
    path = out or folder / REPORT
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(f"<!doctype html>\n{page}\n", "utf-8", errors="replace")
    temporary.replace(path)
    return path


def _read_story(folder: Path) -> dict[str, Any]:
    try:
        story: dict[str, Any] = json.loads((folder / STORY).read_text("utf-8"))
    except OSError as error:
        raise CheckpointFolderError(f"{folder} holds no training run: {STORY}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointFolderError(f"{folder / STORY} is not what a training run wrote: {error}") from error
    return story


def _examine(encoder: Encoder, dev: Sequence[CaptionedPhoto]) -> Examined:
    gallery = encode_gallery(encoder, dev)
    if not gallery.photos:
        raise EvaluationError("there is no dev photo that can be read, so there is nothing to report on")
    ranks = rank_captions(gallery)
    return Examined(encoder, gallery, ranks, by_captions(ranks))


def _page(
    folder: Path,
    story: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    start: Examined | None,
    ours: Examined,
    questions: Sequence[str] | None,
) -> Html:
    name = folder.resolve().name
    figures = compare(start, ours)
    css = Path(__file__).with_name("report.css").read_text("utf-8")
    return element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name="color-scheme", content="light dark"),
            element("title", f"Training report: {name}"),
            element("style", Html(css)),
        ),
        element(
            "body",
            element(
                "header",
                element("p", "Training report", class_="kind"),
                element("h1", name),
                lead(figures, ours),
                element("p", what_came_of_it(story)),
            ),
            element(
                "main",
                comparison(figures, ours),
                curves(story, steps),
                epochs(story, steps),
                _answers(start, ours, questions),
                facts(name, story, start, ours),
            ),
        ),
        lang="en",
    )


def _answers(start: Examined | None, ours: Examined, asked: Sequence[str] | None) -> Html:
    photos = ours.gallery.photos
    if asked is None:
        before = None if start is None else start.ranks.text_to_image
        chosen = choose_captions(before, ours.ranks.text_to_image, ours.ranks.photo_of_text)
        return answers(start, ours, questions_of_captions(photos, chosen), chosen=True)
    return answers(start, ours, questions_as_given(photos, asked), chosen=False)
