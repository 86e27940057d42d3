"""What the program asks the gallery: one function a statement or SQL function. Writing is db.storing's.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import Vector
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.connection import Connection

Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """An encoder whose vectors are, or may be, in the gallery."""

    id: int
    name: str
    checkpoint: str
    fingerprint: str
    dimension: int
    state: str
    images: int


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A named set of pictures; root is the folder indexed in place, None for uploads."""

    name: str
    root: str | None
    images: int


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A picture of the gallery; width and height are those of the upright picture."""

    id: UUID
    collection: str
    uri: str
    width: int
    height: int
    format: str
    byte_size: int
    taken_at: datetime | None
    perceptual_hash: int
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caption:
    """What was said about a picture; language is ISO 639-1 where known."""

    body: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the gallery holds of a picture: where it is, what was said, whether this encoder saw it."""

    uri: str
    captions: list[str]
    encoded: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of an answer; scores are cosine similarities, the parts None where that part was not asked."""

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


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pictures may answer: of this collection, with attributes that contain these."""

    collection: str | None = None
    attributes: Mapping[str, Any] | None = None


async def search_images(
    connection: Connection,
    *,
    text_embedding: Embedding | None = None,
    image_embedding: Embedding | None = None,
    alpha: float = 0.6,
    k: int = 5,
    skip: int = 0,
    filters: Filters = Filters(),
    exact: bool = False,
) -> list[Hit]:
    """Return the k pictures nearest to hybrid_query(text, image, alpha), best first, with each part's score.

    Embeddings are float32 (d,), unit length. Source: migrations/sql/search_images_v1.sql.
    """
    async with connection.cursor(row_factory=class_row(Hit), binary=True) as cursor:
        await cursor.execute(
            """
            select hits.rank, hits.image_id as id, hits.score,
                   1 - (gallery.embedding <=> %(text)s::vector) as text_score,
                   1 - (gallery.embedding <=> %(image)s::vector) as image_score,
                   hits.captions, gallery.collection, hits.uri, gallery.width, gallery.height, gallery.format,
                   gallery.taken_at, gallery.attributes
            from search_images(
                     hybrid_query(%(text)s::vector, %(image)s::vector, %(alpha)s::float8), %(k)s::integer,
                     %(collection)s::text, %(attributes)s::jsonb, %(skip)s::integer, %(exact)s
                 ) as hits
            join gallery on gallery.id = hits.image_id
            order by hits.rank
            """,
            {
                "text": _vector(text_embedding),
                "image": _vector(image_embedding),
                "alpha": alpha,
                "k": k,
                "skip": skip,
                "exact": exact,
                **_filters(filters),
            },
        )
        return await cursor.fetchall()


async def similar_images(
    connection: Connection, image_id: UUID, *, k: int = 5, filters: Filters = Filters()
) -> list[Hit]:
    """Return the k pictures most like one of the gallery, without itself.

    Raises:
        psycopg.errors.NoDataFound: no such picture.
    """
    async with connection.cursor(row_factory=class_row(Hit), binary=True) as cursor:
        await cursor.execute(
            """
            select hits.rank, hits.image_id as id, hits.score, null::float8 as text_score,
                   hits.score as image_score, hits.captions, gallery.collection, hits.uri, gallery.width,
                   gallery.height, gallery.format, gallery.taken_at, gallery.attributes
            from similar_images(%(id)s, %(k)s::integer, %(collection)s::text, %(attributes)s::jsonb) as hits
            join gallery on gallery.id = hits.image_id
            order by hits.rank
            """,
            {"id": image_id, "k": k, **_filters(filters)},
        )
        return await cursor.fetchall()


async def embedding_of(connection: Connection, image_id: UUID) -> Embedding | None:
    """Return a picture's vector by the active encoder, float32 (d,), or None if there is no such picture."""
    cursor = await connection.execute("select embedding from gallery where id = %s", (image_id,), binary=True)
    row = await cursor.fetchone()
    return None if row is None else row[0].to_numpy().astype(np.float32)


async def find_image(connection: Connection, image_id: UUID) -> tuple[ImageRow, str | None] | None:
    """Return a picture and its collection's root, or None."""
    async with connection.cursor(row_factory=class_row(ImageRow)) as cursor:
        await cursor.execute(
            """
            select id, collection, uri, width, height, format, byte_size, taken_at, perceptual_hash,
                   attributes
            from images
            where id = %s
            """,
            (image_id,),
        )
        image = await cursor.fetchone()
    if image is None:
        return None
    found = await connection.execute("select root from collections where name = %s", (image.collection,))
    row = await found.fetchone()
    return image, row[0] if row else None


async def captions_of(connection: Connection, image_id: UUID) -> list[Caption]:
    """Return a picture's captions in order."""
    async with connection.cursor(row_factory=class_row(Caption)) as cursor:
        await cursor.execute("select body, language from captions_of(%s)", (image_id,))
        return await cursor.fetchall()


async def collection_roots(connection: Connection) -> dict[str, str | None]:
    """Return every collection's root by its name."""
    cursor = await connection.execute("select name, root from collections")
    return {name: root async for name, root in cursor}


async def list_collections(connection: Connection) -> list[CollectionRow]:
    """Return every collection with its number of pictures, by name."""
    async with connection.cursor(row_factory=class_row(CollectionRow)) as cursor:
        await cursor.execute(
            """
            select name, root, (select count(*) from images where collection = name) as images
            from collections
            order by name
            """
        )
        return await cursor.fetchall()


async def list_encoders(connection: Connection) -> list[EncoderRow]:
    """Return every encoder with the number of pictures it has seen, the active one first."""
    async with connection.cursor(row_factory=class_row(EncoderRow)) as cursor:
        await cursor.execute(
            """
            select id, name, checkpoint, fingerprint, dimension, state,
                   (select count(*) from image_embeddings where encoder_id = id) as images
            from encoders
            order by state <> 'active', id
            """
        )
        return await cursor.fetchall()


async def active_encoder(connection: Connection) -> EncoderRow | None:
    """Return the encoder that every search uses, or None before anything was indexed."""
    async with connection.cursor(row_factory=class_row(EncoderRow)) as cursor:
        await cursor.execute(
            """
            select id, name, checkpoint, fingerprint, dimension, state,
                   (select count(*) from image_embeddings where encoder_id = id) as images
            from encoders
            where state = 'active'
            """
        )
        return await cursor.fetchone()


async def known_images(connection: Connection, encoder_id: int, ids: Sequence[UUID]) -> dict[UUID, Known]:
    """Return what the gallery holds of these pictures; ids that it does not know are left out."""
    cursor = await connection.execute(
        """
        select images.id, images.uri,
               array(select body from captions where image_id = images.id order by position),
               exists (select from image_embeddings where encoder_id = %s and image_id = images.id)
        from images
        where images.id = any(%s)
        """,
        (encoder_id, list(ids)),
    )
    return {id_: Known(uri, captions, encoded) async for id_, uri, captions, encoded in cursor}


async def images_at(connection: Connection, collection: str, uris: Sequence[str]) -> dict[str, list[UUID]]:
    """Return which pictures the gallery has under each uri of a collection; uris without any are left out.

    More than one is under a uri while its file has changed and delete_replaced has not been called.
    """
    cursor = await connection.execute(
        "select uri, array_agg(id) from images where collection = %s and uri = any(%s) group by uri",
        (collection, list(uris)),
    )
    return {uri: ids async for uri, ids in cursor}


async def is_uploaded_file_used(connection: Connection, uri: str) -> bool:
    """Say whether any collection of uploads has a picture in this file of the upload store."""
    cursor = await connection.execute(
        """
        select exists (
            select from images
            where uri = %s and collection in (select name from collections where root is null)
        )
        """,
        (uri,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


def _vector(embedding: Embedding | None) -> Vector | None:
    return None if embedding is None else Vector(embedding)


def _filters(filters: Filters) -> dict[str, Any]:
    attributes = None if filters.attributes is None else Jsonb(dict(filters.attributes))
    return {"collection": filters.collection, "attributes": attributes}
