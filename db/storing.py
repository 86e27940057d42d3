"""What changes the gallery: pictures, captions and vectors in, changed, and out. Reading is db.gallery's.

Every connection comes from db.connection's pool, in autocommit.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from pgvector import HalfVector
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from db.connection import Connection
from db.errors import CollectionConflictError, EncoderMismatchError
from db.gallery import Caption, Embedding, EncoderRow, ImageRow, active_encoder


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
        raise mismatch(active, checkpoint, fingerprint)
    return active.id


def mismatch(active: EncoderRow, checkpoint: str, fingerprint: str) -> EncoderMismatchError:
    """Return the error that this encoder is not the one of the gallery's vectors."""
    ours, theirs = fingerprint[:12], active.fingerprint[:12]
    if checkpoint == active.checkpoint:
        return EncoderMismatchError(
            f"the gallery was indexed with {checkpoint} as it was then (fingerprint {theirs}); its weights,"
            f" tokenizer or preprocessing have changed since, or are damaged (fingerprint {ours}), and"
            " vectors of two encoders cannot be compared. Bring its files back as they were, or use another"
            " database"
        )
    return EncoderMismatchError(
        f"the gallery was indexed with {active.checkpoint} (fingerprint {theirs}), but the encoder is"
        f" {checkpoint} (fingerprint {ours}); vectors of two encoders cannot be compared. Use the gallery's"
        " own, or another database"
    )


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


@asynccontextmanager
async def taking_turns(connection: Connection, subject: str) -> AsyncIterator[None]:
    """Hold the advisory lock of this subject, across all processes that use the database."""
    try:
        await connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (subject,))
        yield
    finally:
        try:
            await connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (subject,))
        except BaseException:  # cancelled just now, say: the lock goes with the connection
            await connection.close()
            raise


async def is_taken(connection: Connection, subject: str) -> bool:
    """Say whether somebody has this subject's turn just now."""
    cursor = await connection.execute(
        "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
        (subject,),  # let go of at once
    )
    row = await cursor.fetchone()
    return not (row and row[0])


@asynccontextmanager
async def patient_transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction whose statements may take as long as they must, as behind an index being built."""
    async with connection.transaction():
        await connection.execute("set local statement_timeout = 0")
        yield
