"""Questions and hits as they travel: the service, the stream and the command line say the same."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from app.schemas import image_url, thumbnail_url
from app.search import Answer, Encoded, Found, Question
from app.search_schemas import (
    BackgroundAnswer,
    EncoderEcho,
    HitAnswer,
    QueryEcho,
    Rectangle,
    SearchAnswer,
    TermEcho,
    Timings,
)
from app.service import Service
from app.terms import EncodedTerm, Term
from db.background import Background
from db.searching import Hit

Value = TypeVar("Value")


def search_answer(question: Question, answer: Answer) -> SearchAnswer:
    """Return an answer as it travels: the command line prints the same."""
    return SearchAnswer(
        query=query_echo(answer.service, question, answer.encoded),
        hits=[hit_answer(hit, question.terms, answer.found.background) for hit in answer.hits],
        background=background_answer(answer.found),
        timings_ms=timings(answer.encoded, answer.found),
    )


def query_echo(service: Service, question: Question, encoded: Encoded) -> QueryEcho:
    """Return a question as it was understood."""
    terms, filters = question.terms, question.filters
    words = [term for term in terms if term.kind == "text"]
    echoes = [term_echo(*each) for each in zip(terms, encoded.terms, strict=True)]
    return QueryEcho(
        text=_only([term.text for term in words]),
        image=_only([term.picture_name for term in terms if term.kind == "image"]),
        image_id=_only([term.image_id for term in terms if term.kind == "image_id"]),
        alpha=question.alpha,
        text_weight=sum(term.weight for term in words),
        image_weight=sum(term.weight for term in terms if term.kind != "text"),
        terms=echoes,
        k=question.k,
        offset=question.offset,
        collection=filters.collection,
        attributes=None if filters.attributes is None else dict(filters.attributes),
        exclude=list(filters.exclude),
        taken_from=filters.taken_from,
        taken_to=filters.taken_to,
        min_score=filters.min_score,
        sort=question.sort,
        truncated=any(echo.truncated for echo in echoes),
        exact=question.exact,
        min_width=filters.min_width,
        min_height=filters.min_height,
        caption_weight=question.caption_weight,
        normalise=question.normalise,
        fold_duplicates=question.fold_duplicates,
        background=question.background,
        rerank=question.rerank,
        literal=question.literal,
        balanced=question.balanced,
        more=list(question.more),
        less=list(question.less),
        encoder=encoder_echo(service),
    )


def term_echo(term: Term, encoded: EncodedTerm) -> TermEcho:
    """Return a term as it was understood."""
    part = term.region
    region = None if part is None else Rectangle(part.x, part.y, part.width, part.height)
    given = term.kind in ("image", "embedding") or region is not None
    return TermEcho(
        kind=term.kind,
        text=term.text,
        image_id=term.image_id,
        weight=term.weight,
        understood=understood.text if (understood := encoded.understood) else None,
        without=list(understood.without) if understood else [],
        sentences=encoded.sentences,
        truncated=encoded.truncated,
        region=region,
        embedding=base64.b64encode(encoded.embedding.astype("<f2").tobytes()).decode() if given else None,
    )


def encoder_echo(service: Service) -> EncoderEcho:
    """Return what is told of the encoder that answers."""
    encoder = service.encoder
    return EncoderEcho(
        name=Path(encoder.checkpoint).name,
        checkpoint=encoder.checkpoint,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
    )


def background_answer(found: Found) -> BackgroundAnswer | None:
    """Return what the scores of the hits are held against, if that was asked."""
    background = found.background
    if background is None:
        return None
    best = max((hit.score for hit in found.hits), default=None)
    return BackgroundAnswer(
        sample=len(background.scores),
        mean=background.mean,
        deviation=background.deviation,
        chance=background.chance,
        nothing_near=None if background.chance is None else best is None or best < background.chance,
    )


def hit_answer(hit: Hit, terms: Sequence[Term], background: Background | None = None) -> HitAnswer:
    """Return a hit as it travels, with the addresses of its picture."""
    scores = list(zip(terms, hit.term_scores, strict=True))
    return msgspec.convert(
        {
            **{name: getattr(hit, name) for name in hit.__slots__},
            "text_score": _only([score for term, score in scores if term.kind == "text"]),
            "image_score": _only([score for term, score in scores if term.kind != "text"]),
            "percentile": None if background is None else background.percentile(hit.score),
            "image_url": image_url(hit.id),
            "thumbnail_url": thumbnail_url(hit.id),
        },
        HitAnswer,
    )


def timings(encoded: Encoded, found: Found) -> Timings:
    """Return where the time of an answer went."""
    return Timings(
        encode=round(encoded.encode_ms, 3),
        database=round(found.database_ms, 3),
        total=round(encoded.encode_ms + found.database_ms, 3),
    )


def _only(values: Sequence[Value]) -> Value | None:
    return values[0] if len(values) == 1 else None
