"""Judgements in and out: what people say of answers, and the captions file that training makes of it."""

import csv
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from psycopg.errors import ForeignKeyViolation

from app.errors import ImageNotFoundError, QuestionError
from app.terms import check_characters
from db.connection import Connection
from db.judgements import fitting, store_judgements

MAX_JUDGED = 100
"""Pictures judged at once, or asked to be more or less like."""


def check_judged(more: Sequence[UUID], less: Sequence[UUID]) -> None:
    """Raise QuestionError if pictures are too many, or to be both more and less like."""
    if len(more) + len(less) > MAX_JUDGED:
        raise QuestionError(f"more and less name {len(more) + len(less)} pictures; the most is {MAX_JUDGED}")
    if both := set(more) & set(less):
        raise QuestionError(f"picture {min(both)} is in more and in less; it can be in one of them")


async def judge(
    connection: Connection, text: str, *, more: Sequence[UUID], less: Sequence[UUID], max_text_chars: int
) -> None:
    """Note which pictures fit a question in words, and which do not.

    Raises:
        QuestionError: no words, or too many, or no pictures, or too many.
        ImageNotFoundError: a picture is not in the gallery.
    """
    text = " ".join(text.split())
    if not 0 < len(text) <= max_text_chars:
        raise QuestionError(f"text has {len(text)} characters; it takes 1 to {max_text_chars}")
    check_characters("text", text)
    check_judged(more, less)
    if not more and not less:
        raise QuestionError("nothing is judged: name pictures that fit (more) or do not (less)")
    try:
        await store_judgements(connection, text, more=more, less=less)
    except ForeignKeyViolation as error:
        raise ImageNotFoundError("one of the pictures judged is not in the gallery") from error


async def export_judgements(connection: Connection, path: Path, collection: str | None) -> int:
    """Write what fits as a captions file (image,caption) that `train` reads; return how many pairs there are.

    Names are paths below the collection's folder: the one that `train` takes as --images.

    Raises:
        QuestionError: there are none, or of several collections, whose names start from different folders.
    """
    pairs = await fitting(connection, collection)
    if not pairs:
        raise QuestionError("no picture has been judged to fit a question")
    if len(names := sorted({pair.collection for pair in pairs})) > 1:
        raise QuestionError(f"pictures of several collections were judged ({', '.join(names)}); choose one")
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["image", "caption"])
        lines.writerows((pair.uri, pair.question) for pair in pairs)
    return len(pairs)
