"""A report's questions: each with its first hits before and after training, as small pictures in the page."""

import base64
from collections.abc import Iterable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from embedding.images import decode_image
from training.markup import Html, element
from training.photos import CaptionedPhoto
from training.report_figures import NEVER_MET, Examined
from training.report_questions import SHOWN_HITS, Answer, Hit, Question, ask
from training.report_story import MINUS, counted

THUMBNAIL_PX = 160
THUMBNAIL_QUALITY = 70
ARROW = "\N{RIGHTWARDS ARROW}"


def answers(start: Examined | None, ours: Examined, questions: Sequence[Question], *, chosen: bool) -> Html:
    """Return the section of questions and answers.

    Args:
        start: the encoder before training; None where there was none.
        ours: the encoder after it.
        questions: to show.
        chosen: they were chosen by choose_captions, and the page says how.
    """
    asked = [
        (
            question,
            None if start is None else ask(start.encoder, start.gallery, question),
            ask(ours.encoder, ours.gallery, question),
        )
        for question in questions
    ]
    pictures = _thumbnails(
        ours.gallery.photos,
        {
            hit.photo
            for _, before, after in asked
            for answer in (before, after)
            if answer
            for hit in _shown(answer)
        },
    )
    cards = [_card(question, before, after, ours, pictures) for question, before, after in asked]
    told = [element("p", NEVER_MET if start is None else _how_ranks_changed(start, ours))]
    if chosen:
        told.append(element("p", _how_chosen(start), class_="note"))
    return element(
        "section", element("h2", "Questions and answers"), *told, element("div", *cards, class_="cards")
    )


def _card(
    question: Question, before: Answer | None, after: Answer, ours: Examined, pictures: dict[int, str]
) -> Html:
    rows = [] if before is None else [_row("Before", before, ours, pictures)]
    return element(
        "article",
        element("h3", question.words, dir="auto"),
        element("p", *_verdict(before, after), class_="verdict"),
        *rows,
        _row("After", after, ours, pictures),
    )


def _verdict(before: Answer | None, after: Answer) -> list[str]:
    if after.rank is None:
        return ["Nobody's caption: there is no right answer to compare with."]
    if before is None or before.rank is None:
        return ["Right photo at rank ", element("b", f"{after.rank:,}")]
    ranks = element("b", f"{before.rank:,} {ARROW} {after.rank:,}")
    change = "better" if after.rank < before.rank else "worse" if after.rank > before.rank else "as before"
    return ["Right photo at rank ", ranks, f", {change}"]


def _row(title: str, answer: Answer, ours: Examined, pictures: dict[int, str]) -> Html:
    hits = [_hit(hit, ours.gallery.photos[hit.photo], pictures[hit.photo]) for hit in _shown(answer)]
    return element("div", element("h4", title), element("ol", *hits), class_="answer")


def _hit(hit: Hit, photo: CaptionedPhoto, picture: str) -> Html:
    told: list[str] = [element("span", f"{hit.score:z.3f}".replace("-", MINUS), class_="score")]
    if hit.right:
        mark = "right" if hit.rank <= SHOWN_HITS else f"right, {hit.rank:,}"
        told.append(element("span", mark, class_="mark"))
    kinds = ["right"] * hit.right + ["below"] * (hit.rank > SHOWN_HITS)
    return element(
        "li",
        element("img", src=picture, alt=photo.name, title=photo.name),
        *told,
        value=str(hit.rank),
        class_=" ".join(kinds) or "other",
    )


def _shown(answer: Answer) -> Iterable[Hit]:
    return [*answer.hits, *([answer.below] if answer.below else [])]


def _how_ranks_changed(start: Examined, ours: Examined) -> str:
    before, after = start.ranks.text_to_image, ours.ranks.text_to_image
    better, worse, same = (int(np.sum(each)) for each in (after < before, after > before, after == before))
    return (
        f"Of {counted(len(after), 'caption')}, {better:,} find their photo at a better rank than before,"
        f" {worse:,} at a worse one, and {same:,} at the same."
    )


def _how_chosen(start: Examined | None) -> str:
    if start is None:
        return "The captions below were chosen by rule: spread evenly from the best rank to the worst."
    return (
        "The captions below were chosen by rule, not by eye: as many whose rank got worse as got better, if"
        " there are such, from the greatest change to the least, and a few whose rank stayed."
    )


def _thumbnails(photos: Sequence[CaptionedPhoto], rows: Iterable[int]) -> dict[int, str]:
    return {row: _data_uri(photos[row]) for row in sorted(rows)}


def _data_uri(photo: CaptionedPhoto) -> str:
    image = decode_image(photo.source.read(), name=photo.name, enough_px=2 * THUMBNAIL_PX)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC)
    file = BytesIO()
    image.save(file, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
