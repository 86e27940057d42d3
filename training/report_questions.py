"""Which questions a report shows, chosen without favour, and what an encoder answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedding.encoder import Encoder
from training.encoded_gallery import EncodedGallery
from training.metrics import Ranks
from training.photos import CaptionedPhoto

SHOWN_QUESTIONS = 8
SHOWN_HITS = 5
OF_EACH_CHANGE = 3
UNCHANGED = 2


@dataclass(frozen=True, slots=True)
class Question:
    """Words, and the photos that they were said of."""

    words: str
    right: tuple[int, ...]
    """Rows of the gallery; none if the question is nobody's caption."""
    text: int | None
    """The caption's row in the gallery's texts; None if the question is nobody's caption."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo in an answer."""

    photo: int
    rank: int
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The first hits, and where the right photo came."""

    hits: list[Hit]
    rank: int | None
    """Of the best of the right photos; None if there is none."""
    below: Hit | None
    """The best of the right photos, where it is not among the hits."""


def questions_of_captions(photos: Sequence[CaptionedPhoto], rows: Sequence[int]) -> list[Question]:
    """Return questions for rows of a gallery's texts, each with its own photo alone as right."""
    texts = [(photo, words) for photo, each in enumerate(photos) for words in each.captions]
    return [Question(texts[row][1], (texts[row][0],), row) for row in rows]


def questions_as_given(photos: Sequence[CaptionedPhoto], asked: Sequence[str]) -> list[Question]:
    """Return questions in anyone's words; where they are captions, all photos with that caption are right."""
    owners: dict[str, list[tuple[int, int]]] = {}
    row = 0
    for photo, each in enumerate(photos):
        for words in each.captions:
            owners.setdefault(words, []).append((photo, row))
            row += 1
    found = [(words, owners.get(words.strip(), [])) for words in asked]
    return [
        Question(words, tuple(dict.fromkeys(photo for photo, _ in own)), own[0][1] if own else None)
        for words, own in found
    ]


def choose_captions(
    before: Ranks | None, after: Ranks, photo_of_text: Ranks, *, count: int = SHOWN_QUESTIONS
) -> list[int]:
    """Return rows of captions that show what changed, no two of one photo; the same ranks give the same rows.

    As many captions that find their photo at a worse rank as at a better one, if there are such, and a few
    where the rank stayed. Of each kind those with the greatest and the least change of the rank's logarithm,
    and what lies evenly between (where it stayed: of the best and the worst rank). Without ranks from before:
    from the best rank to the worst.

    Args:
        before: int64 (captions,), ranks from 1.
        after: int64 (captions,).
        photo_of_text: int64 (captions,).
        count: how many at most.
    """
    used: set[int] = set()
    by_rank = np.argsort(after, kind="stable")
    if before is None:
        return _spread(by_rank, count, photo_of_text, used)
    gain = np.log(before / after)
    most_changed = np.argsort(-np.abs(gain), kind="stable")
    better = most_changed[gain[most_changed] > 0]
    worse = most_changed[gain[most_changed] < 0]
    same = by_rank[gain[by_rank] == 0]
    each = min(OF_EACH_CHANGE, len(better), len(worse))
    shares = [each, each, min(UNCHANGED, len(same))]
    for kind, group in enumerate((better, worse, same)):
        shares[kind] += max(0, min(count - sum(shares), len(group) - shares[kind]))
    return [
        row
        for group, share in zip((better, worse, same), shares, strict=True)
        for row in _spread(group, share, photo_of_text, used)
    ]


def ask(encoder: Encoder, gallery: EncodedGallery, question: Question) -> Answer:
    """Have an encoder answer a question, exactly; a tie counts against the right photos, as in evaluation."""
    vector = (
        encoder.encode_texts([question.words])[0] if question.text is None else gallery.texts[question.text]
    )
    scores = gallery.images @ vector  # (photos,)
    is_right = np.zeros(len(scores), np.bool_)
    is_right[list(question.right)] = True
    order = np.lexsort((is_right, -scores))
    ranked = [
        Hit(int(photo), rank, float(scores[photo]), bool(is_right[photo]))
        for rank, photo in enumerate(order, start=1)
        if rank <= SHOWN_HITS or is_right[photo]
    ]
    best = next((hit for hit in ranked if hit.right), None)
    return Answer(
        hits=ranked[:SHOWN_HITS],
        rank=None if best is None else best.rank,
        below=None if best is None or best.rank <= SHOWN_HITS else best,
    )


def _spread(order: Ranks, count: int, photo_of_text: Ranks, used: set[int]) -> list[int]:
    """Return rows from places evenly along order, ends included, of unused photos; mark those as used."""
    chosen: list[int] = []
    for place in np.linspace(0, len(order) - 1, count):
        free = np.flatnonzero(~np.isin(photo_of_text[order], list(used)))
        if not len(free):
            break
        row = int(order[free[np.abs(free - place).argmin()]])
        used.add(int(photo_of_text[row]))
        chosen.append(row)
    return chosen
