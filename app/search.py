"""The read path: a question -> its terms' vectors (app.terms) -> one SQL call -> ranked hits."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

import psycopg

from app.errors import ImageNotFoundError, QuestionError
from app.judgements import check_judged
from app.limits import check_attributes
from app.reranking import rerank
from app.service import Service
from app.terms import (
    DEFAULT_ALPHA,
    EncodedTerm,
    Term,
    check_collection,
    check_terms,
    encode_terms,
    require_direction,
)
from db.background import Background, background_scores
from db.composing import Composed, Composition, Part, compose
from db.connection import Connection
from db.errors import EncoderMismatchError
from db.gallery import Embedding
from db.searching import (
    Filters,
    Hit,
    Ranking,
    Sort,
    embeddings_of,
    encoder_changed,
    search_images,
    similar_images,
)

DEFAULT_K = 5
MAX_OFFSET = 100_000
MAX_EXCLUDED = 1000
MOST_PIXELS_A_SIDE = 1_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """Weighted terms, and which of the pictures that fit them are wanted.

    alpha is what was asked for, if words_and_picture made the terms of it.
    """

    terms: tuple[Term, ...]
    alpha: float = DEFAULT_ALPHA
    k: int = DEFAULT_K
    offset: int = 0
    filters: Filters = field(default_factory=Filters)
    sort: Sort = "relevance"
    exact: bool = False
    caption_weight: float = 0.0
    normalise: bool = False
    fold_duplicates: float | None = None
    background: bool = False
    rerank: bool = False
    literal: bool = False
    """Words are taken as they are: "without" negates nothing."""
    balanced: bool = False
    """Each term is scaled by the spread of its scores."""
    more: tuple[UUID, ...] = ()
    """Pictures of the gallery to be more like…"""
    less: tuple[UUID, ...] = ()
    """…and to be less like."""

    @property
    def words(self) -> str:
        """The words that lead towards something, joined."""
        return " ".join(term.text for term in self.terms if term.text is not None and term.weight > 0)

    @property
    def is_reranked(self) -> bool:
        """Say whether more counts than to be near."""
        return self.caption_weight > 0 or self.normalise or self.fold_duplicates is not None

    @property
    def weights(self) -> list[float]:
        """The terms' weights, in their order."""
        return [term.weight for term in self.terms]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The terms as they were encoded, how they are composed, and how long that took.

    composed is None where that is compose_query of the terms' vectors as they are.
    """

    terms: list[EncodedTerm]
    composition: Composition
    composed: Composed | None
    encode_ms: float

    @property
    def embeddings(self) -> list[Embedding]:
        """Each term's vector, float32 (d,), what is negated taken out."""
        return self.composed.embeddings if self.composed else [term.embedding for term in self.terms]

    @property
    def query(self) -> Embedding | None:
        """The question's vector, float32 (d,), where it is composed already."""
        return self.composed.query if self.composed else None

    @property
    def words(self) -> str:
        """The words that lead towards something, joined, without what they negate."""
        return " ".join(
            term.understood.text
            for term, part in zip(self.terms, self.composition.parts, strict=True)
            if term.understood and term.understood.text and part.weight > 0
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, best first; how long the database took; and how near random pictures are, if that was asked."""

    hits: list[Hit]
    database_ms: float
    background: Background | None = None

    @property
    def ef_search(self) -> int | None:
        """How many candidates the HNSW index looked at; None: every picture that matches was compared."""
        return self.hits[0].ef_search if self.hits else None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole of it."""

    service: Service
    """Of the encoder that answered."""
    encoded: Encoded
    found: Found

    @property
    def hits(self) -> list[Hit]:
        """The pictures found, best first."""
        return self.found.hits

    @property
    def total_ms(self) -> float:
        """From the question to the hits."""
        return self.encoded.encode_ms + self.found.database_ms


async def search(service: Service, question: Question) -> Answer:
    """Answer a question.

    Raises:
        QuestionError: it asks for nothing, or out of bounds.
        ImageNotFoundError, GalleryFileMissingError: a picture is not in the gallery, or its file is gone.
        ImageError: a picture cannot be decoded.
        EncoderBusyError: too much is queued already.
        EncoderMismatchError: the gallery was given another encoder meanwhile.
        psycopg.Error, psycopg_pool.PoolTimeout: the database does not answer.
    """
    try:
        return await _answer(service, question)
    except EncoderMismatchError:  # the gallery has changed its encoder since
        return await _answer(await service.of_active_encoder(), question)


async def _answer(service: Service, question: Question) -> Answer:
    encoded = await encode(service, question)
    return Answer(service, encoded, await find(service, question, encoded))


async def encode(service: Service, question: Question) -> Encoded:
    """Return the vectors of a question's terms; raises as search does, of the question and the encoder."""
    started = time.perf_counter()
    check(question, max_k=service.settings.max_k, max_text_chars=service.settings.max_text_chars)
    if question.rerank and service.reranker is None:
        raise QuestionError("rerank is asked, and no reranker is set (IMAGE_RETRIEVAL_RERANKER)")
    terms = await encode_terms(service, question.terms, literal=question.literal)
    composition = Composition(
        [
            Part(term.embedding, weight, term.without)
            for term, weight in zip(terms, question.weights, strict=True)
        ],
        question.balanced,
        question.more,
        question.less,
    )
    composed = await _composed(service, composition)
    return Encoded(terms, composition, composed, 1000 * (time.perf_counter() - started))


async def _composed(service: Service, composition: Composition) -> Composed | None:
    """Return what the database makes of the terms; None where it will while it searches."""
    require_direction(
        [part.embedding for part in composition.parts], [part.weight for part in composition.parts]
    )
    if composition.is_plain:
        return None
    try:
        async with service.pool.connection() as connection:
            return await compose(connection, composition)
    except psycopg.errors.NoDataFound as error:
        raise ImageNotFoundError(_said(error)) from error
    except psycopg.errors.DataException as error:
        if "dimensions" in str(error):  # those of the pictures to be more like, or less
            raise encoder_changed(service.encoder.fingerprint) from error
        raise QuestionError(_said(error)) from error


def _said(error: psycopg.Error) -> str:
    """Return an SQL function's message without the function's name."""
    return (error.diag.message_primary or str(error)).partition(": ")[2]


def ranking_of(question: Question, encoded: Encoded) -> Ranking:
    """Return what counts beside nearness."""
    return Ranking(
        encoded.words or None, question.caption_weight, question.normalise, question.fold_duplicates
    )


async def find(service: Service, question: Question, encoded: Encoded) -> Found:
    """Ask the database; raises as search does, of the database."""
    started = time.perf_counter()
    ask = partial(
        search_images,
        embeddings=encoded.embeddings,
        weights=question.weights,
        query=encoded.query,
        filters=question.filters,
        sort=question.sort,
        ranking=ranking_of(question, encoded),
        fingerprint=service.encoder.fingerprint,
    )
    async with service.pool.connection() as connection:  # only now: nobody holds one while the encoder works
        hits = await ask(connection, k=question.k, skip=question.offset, exact=question.exact)
        background = await _background(connection, question, encoded) if question.background else None
    database_s = time.perf_counter() - started
    if question.rerank:
        assert service.reranker is not None
        hits = await rerank(service.reranker, question.words, hits)
    service.observe_search(
        "\n".join(term.text for term in question.terms if term.text is not None) or None,
        encode_s=encoded.encode_ms / 1000,
        database_s=database_s,
        ask=None if question.exact or question.sort != "relevance" or question.is_reranked else ask,
    )
    return Found(hits, 1000 * database_s, background)


async def more_like(service: Service, image_id: UUID, *, k: int, filters: Filters) -> list[Hit]:
    """Return the k pictures most like one of the gallery, without itself.

    Raises:
        QuestionError: k out of bounds; ImageNotFoundError: no picture of that id.
    """
    question = Question((Term(image_id=image_id),), k=k, filters=filters)
    check(question, max_k=service.settings.max_k, max_text_chars=1)
    async with service.pool.connection() as connection:
        if not await embeddings_of(connection, [image_id]):
            raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
        return await similar_images(connection, image_id, k=k, filters=filters)


def without_itself(
    filters: Filters, terms: Sequence[Term], more: Sequence[UUID] = (), less: Sequence[UUID] = ()
) -> Filters:
    """Return the filters with the gallery's pictures that the question is made of excluded too."""
    asked = [term.image_id for term in terms if term.image_id is not None]
    return replace(filters, exclude=tuple(dict.fromkeys([*filters.exclude, *asked, *more, *less])))


def check(question: Question, *, max_k: int, max_text_chars: int) -> None:
    """Raise QuestionError, saying what is wrong, unless the question can be asked."""
    check_terms(question.terms, max_text_chars=max_text_chars)
    check_judged(question.more, question.less)
    if not 1 <= question.k <= max_k:
        raise QuestionError(f"k is {question.k}; it goes from 1 to {max_k}")
    if not 0 <= question.offset <= MAX_OFFSET:
        raise QuestionError(f"offset is {question.offset}; it goes from 0 to {MAX_OFFSET}")
    filters = question.filters
    if filters.collection is not None:
        check_collection(filters.collection)
    check_attributes(filters.attributes)
    if len(filters.exclude) > MAX_EXCLUDED:
        raise QuestionError(f"exclude has {len(filters.exclude)} pictures; the most is {MAX_EXCLUDED}")
    if filters.min_score is not None and not math.isfinite(filters.min_score):
        raise QuestionError(f"min_score is {filters.min_score}; it is a cosine similarity, from -1 to 1")
    for name, value in (("min_width", filters.min_width), ("min_height", filters.min_height)):
        if value is not None and not 1 <= value <= MOST_PIXELS_A_SIDE:
            raise QuestionError(f"{name} is {value}; it goes from 1 to {MOST_PIXELS_A_SIDE:,} pixels")
    if not 0 <= question.caption_weight <= 1:
        raise QuestionError(
            f"caption_weight is {question.caption_weight}; it goes from 0 (the vector alone) to 1 (captions)"
        )
    if question.fold_duplicates is not None and not 0 <= question.fold_duplicates <= 2:
        raise QuestionError(
            f"fold_duplicates is {question.fold_duplicates}; it is a cosine distance, from 0 to 2"
        )
    if filters.taken_from and filters.taken_to and filters.taken_from > filters.taken_to:
        raise QuestionError(f"taken_from {filters.taken_from} is after taken_to {filters.taken_to}")


async def _background(connection: Connection, question: Question, encoded: Encoded) -> Background:
    return await background_scores(
        connection,
        encoded.embeddings,
        question.weights,
        query=encoded.query,
        collection=question.filters.collection,
    )
