"""What travels over HTTP, but for questions and their answers: those are app.search_schemas'."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from db.gallery import Caption, ImageRow


class UploadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What comes with an uploaded picture; the field captions may occur several times."""

    captions: Annotated[
        list[str], Meta(description="What the picture shows; give the field once a caption")
    ] = msgspec.field(default_factory=list)
    collection: Annotated[str, Meta(min_length=1, max_length=200, description="Where it belongs")] = "uploads"
    attributes: Annotated[
        dict[str, Any] | None, Meta(description="Anything else known about it, to filter on")
    ] = None


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
    """A named set of pictures; kind says whether its pictures are a folder's, left in place, or uploads.

    encoded is how many of them the active encoder has vectors of: those can be found.
    """

    name: str
    kind: str
    images: int
    encoded: int


class EncoderAnswer(Struct, frozen=True):
    """An encoder whose vectors are in the gallery; the active one answers questions."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int
    state: str
    images: int


class FacetValue(Struct, frozen=True):
    """A value that an attribute has, as it is to be asked for (one of a list is a list of one)."""

    value: str | float | bool | list[str | float | bool]
    count: int


class Facet(Struct, frozen=True):
    """An attribute and its most frequent values."""

    key: str
    values: list[FacetValue]


class FacetsAnswer(Struct, frozen=True):
    """What questions can be narrowed to: how many pictures there are, from when to when, which attributes."""

    count: int
    taken_from: datetime | None
    taken_to: datetime | None
    attributes: list[Facet]


class DuplicateAnswer(Struct, frozen=True):
    """A picture of a stack; distance is its cosine distance to the stack's first."""

    id: UUID
    collection: str
    uri: str
    distance: float
    image_url: str
    thumbnail_url: str


class StackAnswer(Struct, frozen=True):
    """Pictures that nearly repeat each other; the first, with the most pixels, is the one to keep."""

    pictures: list[DuplicateAnswer]


class ActiveEncoder(Struct, frozen=True):
    """The encoder whose vectors answer questions."""

    name: str
    checkpoint: str
    fingerprint: str
    dimension: int


class StatusAnswer(Struct, frozen=True):
    """What a page has to know before it asks: what is here, what this client may do, and the bounds.

    writes: open to this client, or to whoever has a key.
    """

    version: str
    images: int
    encoder: ActiveEncoder | None
    writes: Literal["open", "key"]
    max_upload_bytes: int
    max_k: int
    max_text_chars: int
    max_terms: int


class ZipRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures that are wanted together."""

    ids: Annotated[list[UUID], Meta(min_length=1, max_length=200, description="In this order")]


class Health(Struct, frozen=True):
    """The service is well; when it is not, the answer is a problem (503)."""

    status: str


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
