"""A question as it came over HTTP -> a question to ask."""

import re
from datetime import UTC, datetime

import numpy as np

from app.errors import QuestionError
from app.routes.forms import Picture, decode_base64
from app.search import Question, without_itself
from app.search_schemas import SearchRequest, TermRequest
from app.terms import DEFAULT_ALPHA, Region, Term, words_and_picture
from db.gallery import Embedding
from db.searching import Filters

KINDS = ("text", "image", "image_id", "embedding")


def read_question(asked: SearchRequest, picture: Picture | None = None) -> Question:
    """Return the question that was asked.

    Raises:
        QuestionError: nothing is asked, or things that exclude each other, or a value is none of its kind.
    """
    if asked.terms is None:
        terms = words_and_picture(
            text=asked.text,
            picture=picture.data if picture else None,
            picture_name=picture.name if picture else "",
            image_id=asked.image_id,
            alpha=asked.alpha,
        )
    elif asked.text is not None or picture is not None or asked.image_id is not None:
        raise QuestionError("terms are given, and text, image or image_id beside them; make them terms too")
    else:
        terms = tuple(read_term(term, f"terms[{number}]") for number, term in enumerate(asked.terms))
    filters = Filters(
        collection=asked.collection,
        attributes=asked.attributes,
        exclude=tuple(asked.exclude),
        taken_from=read_moment("taken_from", asked.taken_from),
        taken_to=read_moment("taken_to", asked.taken_to),
        min_score=asked.min_score,
        min_width=asked.min_width,
        min_height=asked.min_height,
    )
    return Question(
        terms,
        alpha=asked.alpha if asked.terms is None else DEFAULT_ALPHA,
        k=asked.k,
        offset=asked.offset,
        filters=without_itself(filters, terms, asked.more, asked.less) if asked.exclude_self else filters,
        sort=asked.sort,
        exact=asked.exact,
        caption_weight=asked.caption_weight,
        normalise=asked.normalise,
        fold_duplicates=asked.fold_duplicates,
        background=asked.background,
        rerank=asked.rerank,
        literal=asked.literal,
        balanced=asked.balanced,
        more=tuple(asked.more),
        less=tuple(asked.less),
    )


def read_term(term: TermRequest, name: str) -> Term:
    """Return one part of the question; name is what messages call it.

    Raises:
        QuestionError: it is not exactly one of the four, or no base64, or no vector.
    """
    given = [kind for kind in KINDS if getattr(term, kind) is not None]
    if len(given) != 1:
        raise QuestionError(
            f"{name} has {' and '.join(given) or 'nothing'}; it takes one of {', '.join(KINDS)}"
        )
    return Term(
        text=term.text,
        picture=None if term.image is None else decode_base64(term.image, f"{name}.image"),
        picture_name=f"the picture in {name}",
        image_id=term.image_id,
        embedding=None if term.embedding is None else _read_embedding(term.embedding, f"{name}.embedding"),
        weight=term.weight,
        region=None if (part := term.region) is None else Region(part.x, part.y, part.width, part.height),
    )


def read_moment(name: str, value: str | None) -> datetime | None:
    """Return a time that came as ISO 8601; a day is its beginning, and without a zone it is UTC.

    Raises:
        QuestionError: it is none.
    """
    if value is None:
        return None
    try:
        # a plus sign in an address that was not escaped arrives as a space
        moment = datetime.fromisoformat(re.sub(r" (\d\d:\d\d)$", r"+\1", value) if "T" in value else value)
    except ValueError as error:
        raise QuestionError(f"{name} is {value!r}; write it as 2024-05-01 or 2024-05-01T12:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_embedding(encoded: str, name: str) -> Embedding:
    data = decode_base64(encoded, name)
    if len(data) % 2:
        raise QuestionError(f"{name} has {len(data)} bytes; it takes two (a float16) for each dimension")
    return np.frombuffer(data, "<f2").astype(np.float32)
