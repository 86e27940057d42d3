"""A question answered as a stream of events: what was understood, hits, words, how it was found."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from msgspec import Struct

from app.answer_text import answer_markdown, to_html
from app.answer_words import Language
from app.answers import background_answer, encoder_echo, hit_answer, query_echo, timings
from app.errors import STATUS, problem, unexpected_problem
from app.search import Encoded, Found, Question, encode, find, ranking_of
from app.search_schemas import DoneEvent, ErrorEvent, HitAnswer, HitsEvent, QueryEcho, Receipt, TextEvent
from app.service import Service
from db.errors import EncoderMismatchError
from db.receipt import receipt_sql

HITS_AT_ONCE = 10
SORTED_BY_DATE = 200
"""Matches that search_images sorts by date: there is no page beyond them."""

Event = tuple[str, Struct]

_ending: set[asyncio.Task[Found]] = set()
"""Held here, for the event loop itself forgets tasks."""


async def answer_events(
    service: Service, question: Question, encoded: Encoded, language: Language
) -> AsyncGenerator[Event, None]:
    """Yield (name, data): understood, hits (as often as it takes), text, done; or error, the last."""
    understood = query_echo(service, question, encoded)
    yield "understood", understood
    try:
        try:
            found = await _cancelled_once(find(service, question, encoded))
        except EncoderMismatchError:  # the gallery has changed its encoder since
            service = await service.of_active_encoder()
            encoded = await encode(service, question)
            understood = query_echo(service, question, encoded)
            yield "understood", understood
            found = await _cancelled_once(find(service, question, encoded))
    except Exception as error:  # noqa: BLE001 - it is told: the answer has begun, nobody else can
        told = problem(error) if isinstance(error, tuple(STATUS)) else unexpected_problem(error)
        yield "error", ErrorEvent(told.status_code, told.title or "", told.detail)
        return
    hits = [hit_answer(hit, question.terms, found.background) for hit in found.hits]
    background = background_answer(found)
    for first in range(0, len(hits), HITS_AT_ONCE):
        yield "hits", HitsEvent(hits[first : first + HITS_AT_ONCE])
    markdown = answer_markdown(understood, hits, language, background)
    yield "text", TextEvent(html=to_html(markdown), markdown=markdown)
    yield (
        "done",
        DoneEvent(
            timings_ms=timings(encoded, found),
            background=background,
            receipt=_receipt(service, question, encoded, understood, found.ef_search),
            more=_may_be_more(question, hits),
        ),
    )


async def _cancelled_once(work: Coroutine[Any, Any, Found]) -> Found:
    """Return what the work gives; when this is cancelled, cancel the work, once.

    What streams is cancelled again and again until it has ended (anyio), and that would interrupt psycopg
    while it takes its statement back: the connection would be lost.
    """
    task = asyncio.create_task(work)
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        raise


def _receipt(
    service: Service, question: Question, encoded: Encoded, understood: QueryEcho, ef_search: int | None
) -> Receipt:
    return Receipt(
        encoder=encoder_echo(service),
        terms=understood.terms,
        balanced=question.balanced,
        more=list(question.more),
        less=list(question.less),
        k=question.k,
        offset=question.offset,
        exact=ef_search is None,
        ef_search=ef_search,
        caption_weight=question.caption_weight,
        normalise=question.normalise,
        fold_duplicates=question.fold_duplicates,
        reranker=service.settings.reranker if question.rerank else None,
        sql=receipt_sql(
            encoded.composition,
            k=question.k,
            skip=question.offset,
            filters=question.filters,
            sort=question.sort,
            exact=question.exact,
            ranking=ranking_of(question, encoded),
            background=question.background,
        ),
    )


def _may_be_more(question: Question, hits: list[HitAnswer]) -> bool:
    end = question.offset + question.k
    return len(hits) == question.k and (question.sort == "relevance" or end < SORTED_BY_DATE)
