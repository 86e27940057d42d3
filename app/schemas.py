"""What travels over HTTP."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.search import DEFAULT_ALPHA, DEFAULT_K, Answer, Question
from app.service import Service
from db.gallery import Caption, Hit, ImageRow


class SearchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: words, a picture, or both. Multipart sends the picture as a file in the field image."""

    text: Annotated[str | None, Meta(description="Words to search by")] = None
    image: Annotated[str | None, Meta(description="A picture as base64 or as a data: URI")] = None
    image_id: Annotated[
        UUID | None, Meta(description="A picture of the gallery instead of an uploaded one")
    ] = None
    alpha: Annotated[float, Meta(ge=0, le=1, description="Weight of the words; the picture has the rest")] = (
        DEFAULT_ALPHA
    )
    k: Annotated[int, Meta(ge=1, description="Most hits wanted")] = DEFAULT_K
    offset: Annotated[int, Meta(ge=0, description="Hits to leave out first")] = 0
    collection: Annotated[str | None, Meta(description="Only pictures of this collection")] = None
    attributes: Annotated[
        dict[str, Any] | None, Meta(description="Only pictures whose attributes contain these")
    ] = None
    exact: Annotated[bool, Meta(description="Compare with every picture instead of asking the index")] = False


class UploadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What comes with an uploaded picture; the field captions may occur several times."""

    captions: Annotated[
        list[str], Meta(description="What the picture shows; give the field once a caption")
    ] = msgspec.field(default_factory=list)
    collection: Annotated[str, Meta(min_length=1, max_length=200, description="Where it belongs")] = "uploads"
    attributes: Annotated[
        dict[str, Any] | None, Meta(description="Anything else known about it, to filter on")
    ] = None


class ReportedRequest(Struct, frozen=True):
    """A question in the form of the first front end; fields that it does not know are passed over."""

    query: str | None = None
    alpha: float = DEFAULT_ALPHA


class EncoderEcho(Struct, frozen=True):
    """The encoder that ranked the hits."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int


class QueryEcho(Struct, frozen=True):
    """The question as it was understood: the weights used, and whether the text was too long (truncated)."""

    text: str | None
    image: str | None
    image_id: UUID | None
    alpha: float
    text_weight: float
    image_weight: float
    k: int
    offset: int
    collection: str | None
    attributes: dict[str, Any] | None
    truncated: bool
    exact: bool
    encoder: EncoderEcho


class HitAnswer(Struct, frozen=True):
    """One picture found. Scores are cosine similarities, from -1 to 1; a part that was not asked has none."""

    rank: int
    id: UUID
    score: float
    text_score: float | None
    image_score: float | None
    captions: list[str]
    collection: str
    uri: str
    width: int
    height: int
    format: str
    taken_at: datetime | None
    attributes: dict[str, Any]
    image_url: str
    thumbnail_url: str


class Timings(Struct, frozen=True):
    """Where the time went, in milliseconds."""

    encode: float
    database: float
    total: float


class SearchAnswer(Struct, frozen=True):
    """Ranked hits, and how they were found."""

    query: QueryEcho
    hits: list[HitAnswer]
    timings_ms: Timings


class SimilarAnswer(Struct, frozen=True):
    """The pictures most like one of the gallery, without itself."""

    image_id: UUID
    hits: list[HitAnswer]


class CaptionAnswer(Struct, frozen=True):
    """A caption; language is ISO 639-1, where known."""

    body: str
    language: str | None


class ImageAnswer(Struct, frozen=True):
    """A picture of the gallery; width and height are those of the upright picture."""

    id: UUID
    collection: str
    uri: str
    width: int
    height: int
    format: str
    byte_size: int
    taken_at: datetime | None
    attributes: dict[str, Any]
    captions: list[CaptionAnswer]
    image_url: str
    thumbnail_url: str


class CollectionAnswer(Struct, frozen=True):
    """A named set of pictures; kind says whether its pictures are a folder's, left in place, or uploads."""

    name: str
    kind: str
    images: int


class EncoderAnswer(Struct, frozen=True):
    """An encoder whose vectors are in the gallery; the active one answers questions."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int
    state: str
    images: int


class Health(Struct, frozen=True):
    """The service is well; when it is not, the answer is a problem (503)."""

    status: str


class ReportedHit(Struct, frozen=True):
    """A hit in the form of the first front end: the picture itself, as a data: URI."""

    image: str
    score: float


class ReportedAnswer(Struct, frozen=True):
    """The five best, in the form of the first front end."""

    top5: list[ReportedHit]


def search_answer(service: Service, question: Question, answer: Answer) -> SearchAnswer:
    """Return an answer as it travels: the command line prints the same."""
    text_weight, image_weight = question.weights
    encoder = service.encoder
    return SearchAnswer(
        query=QueryEcho(
            text=question.text,
            image=None if question.picture is None else question.picture_name,
            image_id=question.image_id,
            alpha=question.alpha,
            text_weight=text_weight,
            image_weight=image_weight,
            k=question.k,
            offset=question.offset,
            collection=question.filters.collection,
            attributes=None if question.filters.attributes is None else dict(question.filters.attributes),
            truncated=answer.truncated,
            exact=question.exact,
            encoder=EncoderEcho(
                name=Path(encoder.checkpoint).name,
                checkpoint=encoder.checkpoint,
                fingerprint=encoder.fingerprint,
                dimension=encoder.dimension,
            ),
        ),
        hits=[hit_answer(hit) for hit in answer.hits],
        timings_ms=Timings(
            encode=round(answer.encode_ms, 3),
            database=round(answer.database_ms, 3),
            total=round(answer.total_ms, 3),
        ),
    )


def hit_answer(hit: Hit) -> HitAnswer:
    """Return a hit as it travels, with the addresses of its picture."""
    return msgspec.convert(
        {
            **{name: getattr(hit, name) for name in hit.__slots__},
            "image_url": image_url(hit.id),
            "thumbnail_url": thumbnail_url(hit.id),
        },
        HitAnswer,
    )


def image_answer(image: ImageRow, captions: list[Caption]) -> ImageAnswer:
    """Return a picture as it travels."""
    return ImageAnswer(
        id=image.id,
        collection=image.collection,
        uri=image.uri,
        width=image.width,
        height=image.height,
        format=image.format,
        byte_size=image.byte_size,
        taken_at=image.taken_at,
        attributes=image.attributes,
        captions=[CaptionAnswer(caption.body, caption.language) for caption in captions],
        image_url=image_url(image.id),
        thumbnail_url=thumbnail_url(image.id),
    )


def image_url(image_id: UUID) -> str:
    """Return the address of a picture's file."""
    return f"/api/images/{image_id}/file"


def thumbnail_url(image_id: UUID) -> str:
    """Return the address of a picture's thumbnail."""
    return f"/api/images/{image_id}/thumbnail"
