"""The read path, whole: a question -> vectors -> one SQL call -> ranked hits."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from PIL import Image

from app.errors import ImageNotFoundError, QuestionError
from app.service import Service
from db.gallery import Embedding, Filters, Hit, embedding_of, search_images, similar_images
from embedding.images import decode_image

DEFAULT_ALPHA = 0.6
DEFAULT_K = 5
MAX_OFFSET = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """Words, a picture (a file's bytes, or one of the gallery), or both; alpha is the weight of the words."""

    text: str | None = None
    picture: bytes | None = None
    picture_name: str = "the uploaded picture"
    image_id: UUID | None = None
    alpha: float = DEFAULT_ALPHA
    k: int = DEFAULT_K
    offset: int = 0
    filters: Filters = field(default_factory=Filters)
    exact: bool = False

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the words and of the picture, as used: a part that was not asked weighs nothing."""
        if self.text is None:
            return 0.0, 1.0
        if self.picture is None and self.image_id is None:
            return 1.0, 0.0
        return self.alpha, 1 - self.alpha


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, best first; truncated says that the encoder read only the beginning of the words."""

    hits: list[Hit]
    truncated: bool
    encode_ms: float
    database_ms: float
    total_ms: float


async def search(service: Service, question: Question) -> Answer:
    """Answer a question.

    Raises:
        QuestionError: it asks for nothing, or out of bounds; ImageNotFoundError: no picture of that id.
        ImageError: the picture cannot be decoded.
        EncoderBusyError: too much is queued already.
        psycopg.Error, psycopg_pool.PoolTimeout: the database does not answer.
    """
    started = time.perf_counter()
    check(question, max_k=service.settings.max_k, max_text_chars=service.settings.max_text_chars)
    text_embedding, image_embedding = await asyncio.gather(
        _text_embedding(service, question), _image_embedding(service, question)
    )
    encoded = time.perf_counter()
    ask = partial(
        search_images,
        text_embedding=text_embedding,
        image_embedding=image_embedding,
        alpha=question.alpha,
        filters=question.filters,
    )
    async with service.pool.connection() as connection:  # only now: nobody holds one while the encoder works
        asked = ask(connection, k=question.k, skip=question.offset, exact=question.exact)
        hits, truncated = await asyncio.gather(asked, _is_truncated(service, question))
    ended = time.perf_counter()
    service.observe_search(
        question.text,
        encode_s=encoded - started,
        database_s=ended - encoded,
        ask=None if question.exact else ask,
    )
    return Answer(
        hits=hits,
        truncated=truncated,
        encode_ms=1000 * (encoded - started),
        database_ms=1000 * (ended - encoded),
        total_ms=1000 * (ended - started),
    )


async def more_like(service: Service, image_id: UUID, *, k: int, filters: Filters) -> list[Hit]:
    """Return the k pictures most like one of the gallery, without itself.

    Raises:
        QuestionError: k out of bounds; ImageNotFoundError: no picture of that id.
    """
    check(Question(image_id=image_id, k=k, filters=filters), max_k=service.settings.max_k, max_text_chars=1)
    async with service.pool.connection() as connection:
        if await embedding_of(connection, image_id) is None:
            raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
        return await similar_images(connection, image_id, k=k, filters=filters)


def check(question: Question, *, max_k: int, max_text_chars: int) -> None:
    """Raise QuestionError, saying what is wrong, unless the question can be asked."""
    if question.text is None and question.picture is None and question.image_id is None:
        raise QuestionError("nothing is asked: give words (text), a picture (image or image_id), or both")
    if question.picture is not None and question.image_id is not None:
        raise QuestionError("image and image_id are both given; ask with one picture")
    if question.text is not None:
        if not question.text.strip():
            raise QuestionError("text is empty")
        if len(question.text) > max_text_chars:
            raise QuestionError(f"text has {len(question.text)} characters; the most is {max_text_chars}")
    for name, value in (("text", question.text), ("collection", question.filters.collection)):
        if value is not None:
            check_characters(name, value)
    if not 0 <= question.alpha <= 1:
        raise QuestionError(
            f"alpha is {question.alpha}; it goes from 0 (the picture alone) to 1 (the words alone)"
        )
    if not 1 <= question.k <= max_k:
        raise QuestionError(f"k is {question.k}; it goes from 1 to {max_k}")
    if not 0 <= question.offset <= MAX_OFFSET:
        raise QuestionError(f"offset is {question.offset}; it goes from 0 to {MAX_OFFSET}")


def check_characters(name: str, value: str) -> None:
    """Raise QuestionError if a text holds what PostgreSQL cannot store: NUL, or half of a surrogate pair."""
    if "\x00" in value:
        raise QuestionError(f"{name} holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise QuestionError(f"{name} holds half of a surrogate pair, which is no character")


async def _is_truncated(service: Service, question: Question) -> bool:
    """Count the words' tokens; this thread has time for it while the database searches."""
    return question.text is not None and service.encoder.is_truncated(question.text)


async def _text_embedding(service: Service, question: Question) -> Embedding | None:
    return None if question.text is None else await service.texts.encode(question.text)


async def _image_embedding(service: Service, question: Question) -> Embedding | None:
    if question.image_id is not None:
        async with service.pool.connection() as connection:
            stored = await embedding_of(connection, question.image_id)
        if stored is None:
            raise ImageNotFoundError(f"there is no picture {question.image_id} in the gallery")
        return stored
    if question.picture is None:
        return None
    picture: Awaitable[Image.Image] = asyncio.to_thread(
        decode_image, question.picture, name=question.picture_name, max_pixels=service.settings.max_pixels
    )
    return await service.images.encode(await picture)
