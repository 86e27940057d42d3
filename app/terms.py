"""What a question is made of: weighted terms (words, pictures, parts of pictures, vectors) and their vectors.

Of words, what is negated is encoded apart (app.negation), and those longer than the encoder reads are encoded
by the sentence (app.long_text). How the vectors become the question's is told by db.composing.
"""

import asyncio
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from uuid import UUID

import numpy as np
from PIL import Image

from app.errors import ImageNotFoundError, QuestionError
from app.limits import MAX_NAME_CHARS
from app.long_text import split_text
from app.negation import Understood, read_negation
from app.pictures import find_picture
from app.reading import HASHED_PX
from app.service import Service
from db.gallery import Embedding
from db.searching import embeddings_of, encoder_changed
from embedding.images import decode_image

Kind = Literal["text", "image", "image_id", "embedding"]

DEFAULT_ALPHA = 0.6
MAX_TERMS = 20
MAX_WEIGHT = 10.0
LEAST_SUM = 1e-3
"""Of the weights' sum: shorter, the terms cancel each other out, and compose_query refuses them too."""

SHORT_BYTES = 60
"""Words of so many bytes have fewer tokens than any encoder reads: none reads less than 64."""

# Each decoding may take the memory of max_pixels, so only as many at once as there are cores.
_decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode-question")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of an upright picture; its corner and its sides are fractions of the picture's, 0 to 1."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Term:
    """Words, a picture (a file's bytes, or one of the gallery) or its region, or a vector: one of them."""

    text: str | None = None
    picture: bytes | None = field(default=None, repr=False)
    picture_name: str = "the picture"
    image_id: UUID | None = None
    embedding: Embedding | None = field(default=None, repr=False)
    weight: float = 1.0
    region: Region | None = None

    @property
    def kind(self) -> Kind:
        """Say which of the four it is."""
        if self.text is not None:
            return "text"
        if self.picture is not None:
            return "image"
        return "image_id" if self.image_id is not None else "embedding"


def words_and_picture(
    *,
    text: str | None = None,
    picture: bytes | None = None,
    picture_name: str = "the uploaded picture",
    image_id: UUID | None = None,
    alpha: float = DEFAULT_ALPHA,
) -> tuple[Term, ...]:
    """Return the terms of a question in words, by a picture, or both; alpha is the weight of the words.

    Raises:
        QuestionError: neither is given, or two pictures are, or alpha is not from 0 to 1.
    """
    if text is None and picture is None and image_id is None:
        raise QuestionError("nothing is asked: give words (text), a picture (image or image_id), or both")
    if picture is not None and image_id is not None:
        raise QuestionError("image and image_id are both given; ask with one picture, or with terms")
    if not 0 <= alpha <= 1:
        raise QuestionError(f"alpha is {alpha}; it goes from 0 (the picture alone) to 1 (the words alone)")
    only_words = picture is None and image_id is None
    words = () if text is None else (Term(text=text, weight=1.0 if only_words else alpha),)
    if only_words:
        return words
    weight = 1 - alpha if words else 1.0
    return (*words, Term(picture=picture, picture_name=picture_name, image_id=image_id, weight=weight))


def check_terms(terms: Sequence[Term], *, max_text_chars: int) -> None:
    """Raise QuestionError, saying which term is wrong and how, unless these can be asked."""
    if not 1 <= len(terms) <= MAX_TERMS:
        raise QuestionError(f"the question has {len(terms)} terms; it takes 1 to {MAX_TERMS}")
    for number, term in enumerate(terms):
        name = term.kind if len(terms) == 1 else f"terms[{number}].{term.kind}"
        _check_term(term, name, max_text_chars=max_text_chars)


def check_characters(name: str, value: str) -> None:
    """Raise QuestionError if a text holds what PostgreSQL cannot store: NUL, or half of a surrogate pair."""
    if "\x00" in value:
        raise QuestionError(f"{name} holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise QuestionError(f"{name} holds half of a surrogate pair, which is no character")


def check_collection(name: str) -> None:
    """Raise QuestionError if this cannot be the name of a collection."""
    check_characters("collection", name)
    if len(name) > MAX_NAME_CHARS:
        raise QuestionError(f"collection is longer than any name; the most is {MAX_NAME_CHARS:,} characters")


@dataclass(frozen=True, slots=True)
class EncodedTerm:
    """A term's vectors, float32 (d,), unit length, and what was understood of its words."""

    embedding: Embedding
    understood: Understood | None = None
    """Of words."""
    without: tuple[Embedding, ...] = ()
    """The concepts to be taken out of the embedding."""
    sentences: int = 1
    """More than one: it is the mean of so many, for the encoder reads no more at once."""
    truncated: bool = False
    """One of them is a single word, and the encoder reads only its beginning."""


async def encode_terms(
    service: Service, terms: Sequence[Term], *, literal: bool = False
) -> list[EncodedTerm]:
    """Return each term's vectors; all are encoded at the same time. literal: no words are taken as negated.

    Raises:
        QuestionError: a vector of the wrong length, or the encoder makes none.
        ImageNotFoundError, GalleryFileMissingError: a picture is not in the gallery, or its file is gone.
        ImageError: a picture cannot be decoded.
        EncoderBusyError: too much is queued already.
        EncoderMismatchError: a picture's vector is another encoder's, of other dimensions.
    """
    stored, encoded = await asyncio.gather(
        _stored(service, [term.image_id for term in terms if term.image_id and not term.region]),
        asyncio.gather(
            *(_encoded(service, term, literal) for term in terms if not term.image_id or term.region)
        ),
    )
    for vector in (vector for term in encoded for vector in (term.embedding, *term.without)):
        if not np.isfinite(vector).all():
            raise QuestionError("the encoder makes no vector of this question; ask in another way")
    others = iter(encoded)
    return [
        EncodedTerm(stored[term.image_id]) if term.image_id and not term.region else next(others)
        for term in terms
    ]


def _check_term(term: Term, name: str, *, max_text_chars: int) -> None:
    if not -MAX_WEIGHT <= term.weight <= MAX_WEIGHT:
        raise QuestionError(
            f"{name}: the weight is {term.weight}; it goes from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        )
    if term.text is not None:
        if not term.text.strip():
            raise QuestionError(f"{name} is empty")
        if len(term.text) > max_text_chars:
            raise QuestionError(f"{name} has {len(term.text)} characters; the most is {max_text_chars}")
        check_characters(name, term.text)
    if term.region is None:
        return
    if term.kind not in ("image", "image_id"):
        raise QuestionError(f"{name} has a region; only a picture (image or image_id) has regions")
    x, y, width, height = term.region.x, term.region.y, term.region.width, term.region.height
    ends = (x + width, y + height)
    if not (min(x, y) >= 0 and width > 0 and height > 0 and all(end <= 1 + 1e-6 for end in ends)):
        raise QuestionError(
            f"{name}: the region {x:g}, {y:g}, {width:g} × {height:g} is not within the picture; all four are"
            " fractions of it, from 0 to 1"
        )


async def _stored(service: Service, ids: Sequence[UUID]) -> dict[UUID, Embedding]:
    if not ids:
        return {}
    async with service.pool.connection() as connection:
        stored = await embeddings_of(connection, ids)
    for image_id in ids:
        if image_id not in stored:
            raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
        if len(stored[image_id]) != service.encoder.dimension:
            raise encoder_changed(service.encoder.fingerprint)
    return stored


async def _encoded(service: Service, term: Term, literal: bool) -> EncodedTerm:
    if term.text is not None:
        return await _encoded_words(service, Understood(term.text) if literal else read_negation(term.text))
    if term.embedding is not None:
        return EncodedTerm(_unit_vector(term.embedding, service.encoder.dimension))
    data, name = term.picture, term.picture_name
    if data is None:
        assert term.image_id is not None
        image, path = await find_picture(service, term.image_id)
        data, name = await asyncio.to_thread(path.read_bytes), image.uri
    picture = await asyncio.get_running_loop().run_in_executor(
        _decoders, _decode, data, name, term.region, service.settings.max_pixels
    )
    return EncodedTerm(await service.images.encode(picture))


async def _encoded_words(service: Service, understood: Understood) -> EncodedTerm:
    """Encode words and what they negate; where nothing else is asked for, lead away from that."""
    sentences = split_text(understood.text, partial(_is_too_long, service)) if understood.text else []
    encoded = await asyncio.gather(*map(service.texts.encode, (*sentences, *understood.without)))
    asked, without = encoded[: len(sentences)], encoded[len(sentences) :]
    if not asked:
        return EncodedTerm(-_mean(without), understood)
    truncated = any(" " not in part and _is_too_long(service, part) for part in sentences)
    return EncodedTerm(_mean(asked), understood, tuple(without), len(asked), truncated)


def _is_too_long(service: Service, text: str) -> bool:
    return len(text.encode("utf-8", "replace")) > SHORT_BYTES and service.encoder.is_truncated(text)


def _mean(embeddings: Sequence[Embedding]) -> Embedding:
    """Return the unit vector of a mean; of one, the vector itself."""
    if len(embeddings) == 1:
        return embeddings[0]
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def _decode(data: bytes, name: str, region: Region | None, max_pixels: int) -> Image.Image:
    """Return a picture as large as encoders need it, or a region of it as large as it is."""
    if region is None:
        return decode_image(data, name=name, max_pixels=max_pixels, enough_px=HASHED_PX)
    picture = decode_image(data, name=name, max_pixels=max_pixels)
    left, right = _span(region.x, region.width, picture.width)
    top, bottom = _span(region.y, region.height, picture.height)
    return picture.crop((left, top, right, bottom))


def _span(start: float, length: float, pixels: int) -> tuple[int, int]:
    """Return the first pixel of a part of a side and the one after its last; at least one pixel."""
    first = min(math.floor(start * pixels), pixels - 1)
    return first, max(first + 1, min(math.ceil((start + length) * pixels - 1e-6), pixels))


def _unit_vector(embedding: Embedding, dimension: int) -> Embedding:
    if embedding.shape != (dimension,):
        raise QuestionError(f"the embedding has {embedding.size} dimensions, the encoder's have {dimension}")
    length = float(np.linalg.norm(embedding.astype(np.float64)))
    if not (math.isfinite(length) and length > 0):
        raise QuestionError("the embedding is zero, or holds what is no number")
    return (embedding / length).astype(np.float32)


def require_direction(embeddings: Sequence[Embedding], weights: Sequence[float]) -> None:
    """Raise QuestionError if the weighted sum of unit vectors is nearly zero, and points nowhere."""
    total = sum(map(abs, weights))
    if total == 0 or np.linalg.norm(np.dot(weights, embeddings)) < LEAST_SUM * total:
        raise QuestionError("the terms add up to nothing: they cancel each other out, or all weigh 0")
