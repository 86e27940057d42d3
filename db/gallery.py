"""The queries the program runs: one function a statement or SQL function, in the order a reader meets them.

Every connection comes from db.connection's pool, in autocommit.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from db.connection import Connection
from db.errors import CollectionConflictError, EncoderMismatchError

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


def image_id(collection: str, data: bytes) -> UUID:
    """Return the key of a picture: 128 bits of SHA-256(collection, NUL, file bytes), as a version 8 UUID.

    Source: RFC 9562, section 5.8 (all but six bits are free).
    """
    digest = hashlib.sha256(collection.encode() + b"\0")
    digest.update(data)
    key = bytearray(digest.digest()[:16])
    key[6] = key[6] & 0x0F | 0x80  # version 8
    key[8] = key[8] & 0x3F | 0x80  # variant
    return UUID(bytes=bytes(key))


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


async def claim_encoder(
    connection: Connection,
    *,
    name: str,
    checkpoint: str,
    fingerprint: str,
    dimension: int,
    preprocessing: Mapping[str, Any],
) -> int:
    """Return the id under which this encoder's vectors are stored; an empty gallery takes it as its own.

    Raises:
        EncoderMismatchError: the gallery is another encoder's.
    """
    active = await active_encoder(connection)
    if active is None or (active.images == 0 and active.fingerprint != fingerprint):
        await connection.execute(
            "select activate_encoder(register_encoder(%s, %s, %s, %s, %s))",
            (name, checkpoint, fingerprint, dimension, Jsonb(dict(preprocessing))),
        )
        active = await active_encoder(connection)
        assert active is not None
    if active.fingerprint != fingerprint:
        raise EncoderMismatchError(
            f"the gallery was indexed with {active.checkpoint} (fingerprint {active.fingerprint[:12]}), and"
            f" vectors of different encoders cannot be compared; this encoder is {checkpoint} (fingerprint"
            f" {fingerprint[:12]}). Use the gallery's own, or index into another database"
        )
    return active.id


async def claim_collection(connection: Connection, name: str, *, root: str | None) -> None:
    """Make a collection unless it is there.

    Raises:
        CollectionConflictError: it is there, and its pictures live in another place.
    """
    await connection.execute(
        "insert into collections (name, root) values (%s, %s) on conflict (name) do nothing", (name, root)
    )
    cursor = await connection.execute("select root from collections where name = %s", (name,))
    row = await cursor.fetchone()
    there: str | None = row[0] if row else None
    if there == root:
        return
    if root is None:
        raise CollectionConflictError(
            f"the collection {name!r} is the folder {there}, indexed in place; upload to another collection"
        )
    holds = "uploads" if there is None else f"the folder {there}"
    raise CollectionConflictError(
        f"the collection {name!r} is {holds}; index {root} under another --collection"
    )


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


async def store_images(
    connection: Connection,
    encoder_id: int,
    images: Sequence[ImageRow],
    captions: Sequence[Sequence[Caption]],
    embeddings: Embedding,
) -> list[UUID]:
    """Store pictures, captions and vectors in one transaction; return the ids that this encoder had not seen.

    Pictures that are there already keep their row and captions. Binary COPY into temporary tables, then one
    insert a table: COPY itself cannot skip what is there.

    Args:
        connection: as ever.
        encoder_id: from claim_encoder.
        images: n rows, no id twice.
        captions: n lists, in order.
        embeddings: float32 (n, d), unit rows.
    """
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(
            """
            create temporary table if not exists arriving_images
                (like images including defaults) on commit delete rows;
            create temporary table if not exists arriving_captions
                (image_id uuid, position smallint, language text, body text) on commit delete rows;
            create temporary table if not exists arriving_embeddings
                (image_id uuid, embedding halfvec) on commit delete rows;
            """
        )
        async with cursor.copy(
            "copy arriving_images (id, collection, uri, width, height, format, byte_size, taken_at,"
            " perceptual_hash, attributes) from stdin (format binary)"
        ) as copy:
            copy.set_types(
                ["uuid", "text", "text", "int4", "int4", "text", "int8", "timestamptz", "int8", "jsonb"]
            )
            for image in images:
                await copy.write_row(
                    (
                        image.id, image.collection, image.uri, image.width, image.height, image.format,
                        image.byte_size, image.taken_at, image.perceptual_hash, Jsonb(image.attributes),
                    )
                )  # fmt: skip
        async with cursor.copy("copy arriving_captions from stdin (format binary)") as copy:
            copy.set_types(["uuid", "int2", "text", "text"])
            for image, said in zip(images, captions, strict=True):
                for position, caption in enumerate(said):
                    await copy.write_row((image.id, position, caption.language, caption.body))
        async with cursor.copy("copy arriving_embeddings from stdin (format binary)") as copy:
            copy.set_types(["uuid", "halfvec"])
            for image, embedding in zip(images, embeddings, strict=True):
                await copy.write_row((image.id, HalfVector(embedding)))
        await cursor.execute(
            """
            with new_images as (
                insert into images (id, collection, uri, width, height, format, byte_size, taken_at,
                                    perceptual_hash, attributes)
                select id, collection, uri, width, height, format, byte_size, taken_at,
                       perceptual_hash, attributes
                from arriving_images
                order by id
                on conflict (id) do nothing
                returning id
            )
            insert into captions (image_id, position, language, body)
            select image_id, position, language, body
            from arriving_captions
            where image_id in (select id from new_images)
            """
        )
        cursor.row_factory = scalar_row
        await cursor.execute(
            """
            insert into image_embeddings (encoder_id, image_id, embedding)
            select %s, image_id, embedding from arriving_embeddings order by image_id
            on conflict do nothing
            returning image_id
            """,
            (encoder_id,),
        )
        return await cursor.fetchall()


async def replace_captions(connection: Connection, captions: Mapping[UUID, Sequence[Caption]]) -> None:
    """Give these pictures these captions instead of the ones they had, in one transaction.

    A picture that is not there, or no longer, is passed over.
    """
    async with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        # two that write the same picture's captions take turns; sorted, so that neither waits for the other
        await cursor.execute(
            "select id from images where id = any(%s) order by id for update", (list(captions),)
        )
        there = await cursor.fetchall()
        await cursor.execute("delete from captions where image_id = any(%s)", (there,))
        await cursor.executemany(
            "insert into captions (image_id, position, language, body) values (%s, %s, %s, %s)",
            [
                (image_id, position, caption.language, caption.body)
                for image_id in there
                for position, caption in enumerate(captions[image_id])
            ],
        )


async def replace_attributes(connection: Connection, image_id: UUID, attributes: Mapping[str, Any]) -> None:
    """Give a picture these attributes instead of the ones it had."""
    await connection.execute(
        "update images set attributes = %s where id = %s", (Jsonb(dict(attributes)), image_id)
    )


async def move_image(connection: Connection, image_id: UUID, uri: str) -> None:
    """Note that a picture's file is now found under another uri of its collection."""
    await connection.execute("update images set uri = %s where id = %s", (uri, image_id))


async def images_at(connection: Connection, collection: str, uris: Sequence[str]) -> dict[str, list[UUID]]:
    """Return which pictures the gallery has under each uri of a collection; uris without any are left out.

    More than one is under a uri while its file has changed and delete_replaced has not been called.
    """
    cursor = await connection.execute(
        "select uri, array_agg(id) from images where collection = %s and uri = any(%s) group by uri",
        (collection, list(uris)),
    )
    return {uri: ids async for uri, ids in cursor}


async def delete_images(connection: Connection, ids: Sequence[UUID]) -> int:
    """Delete pictures with their captions and every encoder's vectors; return how many there were."""
    cursor = await connection.execute("delete from images where id = any(%s)", (list(ids),))
    return cursor.rowcount


async def delete_replaced(connection: Connection, replaced: Sequence[tuple[UUID, str, UUID]]) -> int:
    """Delete pictures whose file now holds another picture; return how many there were.

    Args:
        connection: as ever.
        replaced: (picture, uri under which it was, the picture that is there now). One that has moved to
            another uri meanwhile, or whose successor is not in the gallery, stays.
    """
    cursor = await connection.execute(
        """
        delete from images
        using unnest(%s::uuid[], %s::text[], %s::uuid[]) as replaced (id, uri, successor)
        where images.id = replaced.id
          and images.uri = replaced.uri
          and exists (select from images as stored where stored.id = replaced.successor)
        """,
        tuple(list(column) for column in zip(*replaced, strict=True)) if replaced else ([], [], []),
    )
    return cursor.rowcount


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


@asynccontextmanager
async def taking_turns(connection: Connection, subject: str) -> AsyncIterator[None]:
    """Hold the advisory lock of this subject, across all processes that use the database."""
    await connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (subject,))
    try:
        yield
    finally:
        await connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (subject,))


@asynccontextmanager
async def patient_transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction whose statements may take as long as they must, as behind an index being built."""
    async with connection.transaction():
        await connection.execute("set local statement_timeout = 0")
        yield


async def count_embeddings(connection: Connection, encoder_id: int) -> int:
    """Return how many pictures this encoder has seen."""
    cursor = await connection.execute(
        "select count(*) from image_embeddings where encoder_id = %s", (encoder_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def has_embedding_index(connection: Connection, encoder_id: int) -> bool:
    """Say whether the encoder's HNSW index is there and valid."""
    cursor = await connection.execute(
        "select exists (select from pg_index where indexrelid = to_regclass(%s) and indisvalid)",
        (f"image_retrieval.image_embeddings_{encoder_id}_hnsw",),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def build_embedding_index(connection: Connection, encoder_id: int, *, memory_mb: int = 512) -> bool:
    """Build the encoder's HNSW index unless it is there; return whether it was built.

    memory_mb is maintenance_work_mem for the build: a graph that does not fit is built much more slowly.
    """
    async with connection.transaction():
        await connection.execute("select set_config('maintenance_work_mem', %s, true)", (f"{memory_mb}MB",))
        await connection.execute("set local statement_timeout = 0")
        cursor = await connection.execute("select build_embedding_index(%s::smallint)", (encoder_id,))
        row = await cursor.fetchone()
    await connection.execute("analyze images, captions, image_embeddings")
    return bool(row and row[0])


async def drop_embedding_index(connection: Connection, encoder_id: int) -> None:
    """Drop the encoder's HNSW index, if it is there; searches are exact until it is built again."""
    await connection.execute(
        SQL("drop index if exists {}").format(
            Identifier("image_retrieval", f"image_embeddings_{encoder_id}_hnsw")
        )
    )


async def index_build_progress(connection: Connection) -> tuple[int, int] | None:
    """Return (blocks done, blocks in all) of an index being built on our tables, or None.

    pgvector counts the table's blocks; how many rows there are in all it does not say.
    """
    cursor = await connection.execute(
        """
        select blocks_done, blocks_total
        from pg_stat_progress_create_index
        where datname = current_database() and blocks_total > 0
          and relid in (select oid from pg_class where relnamespace = 'image_retrieval'::regnamespace)
        """
    )
    return await cursor.fetchone()


def _vector(embedding: Embedding | None) -> Vector | None:
    return None if embedding is None else Vector(embedding)


def _filters(filters: Filters) -> dict[str, Any]:
    attributes = None if filters.attributes is None else Jsonb(dict(filters.attributes))
    return {"collection": filters.collection, "attributes": attributes}
