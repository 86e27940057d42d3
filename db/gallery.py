"""What is in the gallery: rows, one function a statement. Searching is db.searching's, writing db.storing's.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row

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
    """A named set of pictures; root is the folder indexed in place, None for uploads.

    encoded is how many of its pictures the active encoder has seen.
    """

    name: str
    root: str | None
    images: int
    encoded: int


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


async def find_images(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[ImageRow, str | None]]:
    """Return pictures and their collections' roots by their ids; unknown ids are left out."""
    cursor = await connection.execute(
        """
        select images.id, images.collection, images.uri, images.width, images.height, images.format,
               images.byte_size, images.taken_at, images.perceptual_hash, images.attributes, collections.root
        from images join collections on collections.name = images.collection
        where images.id = any(%s)
        """,
        (list(ids),),
    )
    return {image[0]: (ImageRow(*image), root) async for *image, root in cursor}


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
            select name, root, (select count(*) from images where collection = name) as images,
                   (select count(*) from gallery where collection = name) as encoded
            from collections
            order by name
            """
        )
        return await cursor.fetchall()


async def count_images(connection: Connection) -> int:
    """Return how many pictures there are."""
    cursor = await connection.execute("select count(*) from images")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


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
