"""Encoders beside the active one: their vectors filled in, compared, switched to, dropped.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from pgvector import HalfVector
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from db.connection import Connection
from db.errors import EncoderStateError
from db.gallery import Embedding, EncoderRow, ImageRow, find_images, list_encoders

LOCK_TIMEOUT = "10s"
"""How long dropping waits for searches that look at the vectors."""
ANNOUNCED_FOR_S = 600
"""A switch that was announced and never came is forgotten after so long."""


async def find_encoder(connection: Connection, name: str) -> EncoderRow:
    """Return an encoder by its name, or by its fingerprint or the beginning of it (8 characters or more).

    Raises:
        EncoderStateError: there is none, or more than one.
    """
    rows = await list_encoders(connection)
    found = [row for row in rows if row.name == name] or [
        row for row in rows if len(name) >= 8 and row.fingerprint.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row.name for row in rows) or "none; image-retrieval index PATH makes the first"
    raise EncoderStateError(f"the gallery has no encoder {name!r}; it has: {names}")


async def add_encoder(
    connection: Connection,
    *,
    name: str,
    checkpoint: str,
    fingerprint: str,
    dimension: int,
    preprocessing: Mapping[str, Any],
) -> int:
    """Return the id of an encoder, known or new; a new one has a place for its vectors and none yet."""
    cursor = await connection.execute(
        "select register_encoder(%s, %s, %s, %s, %s)",
        (name, checkpoint, fingerprint, dimension, Jsonb(dict(preprocessing))),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def preprocessing_of(connection: Connection, encoder_id: int) -> dict[str, Any]:
    """Return how a picture is made ready for an encoder, as it was when the encoder was registered."""
    cursor = await connection.execute("select preprocessing from encoders where id = %s", (encoder_id,))
    row = await cursor.fetchone()
    return dict(row[0]) if row else {}


async def count_unseen(connection: Connection, encoder_id: int) -> int:
    """Return how many pictures of the gallery this encoder has not seen."""
    cursor = await connection.execute(
        """
        select count(*) from images
        where not exists (
            select from image_embeddings where encoder_id = %s and image_id = images.id
        )
        """,
        (encoder_id,),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def unseen_images(
    connection: Connection, encoder_id: int, *, after: UUID | None, limit: int
) -> list[tuple[ImageRow, str | None]]:
    """Return the next pictures, by id, that this encoder has not seen, each with its collection's root."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            select id from images
            where id > coalesce(%(after)s, '00000000-0000-0000-0000-000000000000'::uuid)
              and not exists (
                  select from image_embeddings where encoder_id = %(encoder_id)s and image_id = images.id
              )
            order by id
            limit %(limit)s
            """,
            {"after": after, "encoder_id": encoder_id, "limit": limit},
        )
        ids = await cursor.fetchall()
    found = await find_images(connection, ids)
    return [found[id_] for id_ in ids if id_ in found]


async def store_embeddings(
    connection: Connection, encoder_id: int, ids: Sequence[UUID], embeddings: Embedding
) -> int:
    """Store an encoder's vectors of pictures that are there; return how many were new.

    Args:
        connection: as ever.
        encoder_id: whose vectors they are.
        ids: n pictures; one that was deleted meanwhile is passed over.
        embeddings: float32 (n, d), unit rows.
    """
    cursor = await connection.execute(
        """
        insert into image_embeddings (encoder_id, image_id, embedding)
        select %s, arriving.id, arriving.embedding
        from unnest(%s::uuid[], %b::halfvec[]) as arriving (id, embedding)
        join images on images.id = arriving.id
        order by arriving.id
        on conflict do nothing
        """,
        (encoder_id, list(ids), [HalfVector(embedding) for embedding in embeddings]),
    )
    return cursor.rowcount


async def captioned_sample(
    connection: Connection, encoder_ids: Sequence[int], *, pictures: int
) -> list[tuple[UUID, list[str]]]:
    """Return up to so many captioned pictures that all these encoders have seen, by id, with their captions.

    Ids are digests, so the first of them are a sample as good as any, and the same one the next time.
    """
    cursor = await connection.execute(
        """
        select images.id, array(select body from captions where image_id = images.id order by position)
        from images
        where exists (select from captions where image_id = images.id)
          and (select count(*) from image_embeddings
               where image_id = images.id and encoder_id = any(%(encoders)s)) = %(wanted)s
        order by images.id
        limit %(limit)s
        """,
        {"encoders": list(encoder_ids), "wanted": len(encoder_ids), "limit": pictures},
    )
    return [(id_, captions) async for id_, captions in cursor]


async def vectors_of(connection: Connection, encoder_id: int, ids: Sequence[UUID]) -> Embedding:
    """Return an encoder's vectors of these pictures, float32 (n, d), in their order.

    Raises:
        KeyError: it has not seen one of them.
    """
    cursor = await connection.execute(
        "select image_id, embedding from image_embeddings where encoder_id = %s and image_id = any(%s)",
        (encoder_id, list(ids)),
        binary=True,
    )
    found = {id_: embedding.to_numpy().astype(np.float32) async for id_, embedding in cursor}
    return np.stack([found[id_] for id_ in ids])


async def note_filled(connection: Connection, encoder_id: int) -> None:
    """Say that an encoder being filled has seen what there is, and may be switched to."""
    await connection.execute(
        "update encoders set state = 'ready' where id = %s and state = 'loading'", (encoder_id,)
    )


async def announce_encoder(connection: Connection, encoder_id: int) -> None:
    """Say that this encoder is about to be active, so that running services load it beside their own."""
    await connection.execute(
        """
        insert into encoder_switches (encoder_id, announced_at) values (%s, clock_timestamp())
        on conflict (encoder_id) do update set announced_at = excluded.announced_at
        """,
        (encoder_id,),
    )


async def announced_encoder(connection: Connection) -> EncoderRow | None:
    """Return the encoder that was announced last, if it is not the active one."""
    cursor = await connection.execute(
        """
        select id from encoders join encoder_switches on encoder_id = id
        where announced_at > coalesce(activated_at, '-infinity')
          and announced_at > now() - %s * interval '1 second' and state <> 'active'
        order by announced_at desc
        limit 1
        """,
        (ANNOUNCED_FOR_S,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return next((each for each in await list_encoders(connection) if each.id == row[0]), None)


async def refuse_unseen(connection: Connection, encoder_id: int, *, allowed: int) -> int:
    """Return how many pictures this encoder has not seen.

    Raises:
        EncoderStateError: they are more than allowed.
    """
    unseen = await count_unseen(connection, encoder_id)
    if unseen > allowed:
        raise EncoderStateError(
            f"{unseen:,} pictures lack this encoder's vectors and would not be found; fill them first"
            " (image-retrieval encoders fill), or allow so many with --allow-unseen"
        )
    return unseen


async def activate_encoder(connection: Connection, encoder_id: int, *, unseen_allowed: int = 0) -> int:
    """Make every search use this encoder, in one transaction; return how many pictures it has not seen.

    Raises:
        EncoderStateError: more pictures than allowed lack its vector, and nothing has changed.
    """
    async with connection.transaction():
        unseen = await refuse_unseen(connection, encoder_id, allowed=unseen_allowed)
        await connection.execute("select activate_encoder(%s::smallint)", (encoder_id,))
    return unseen


async def previous_encoder(connection: Connection) -> EncoderRow:
    """Return the encoder that was active before the one that is.

    Raises:
        EncoderStateError: there was none, or it was dropped.
    """
    cursor = await connection.execute(
        """
        select id from encoders join encoder_switches on encoder_id = id
        where state <> 'active' and activated_at is not null
        order by activated_at desc
        limit 1
        """
    )
    row = await cursor.fetchone()
    if row is None:
        raise EncoderStateError("there is no encoder to go back to: none but this one was ever active")
    return next(each for each in await list_encoders(connection) if each.id == row[0])


async def drop_encoder(connection: Connection, encoder_id: int) -> None:
    """Forget an encoder and all of its vectors; pictures and captions stay.

    Raises:
        psycopg.errors.ObjectNotInPrerequisiteState: it is the active one.
        psycopg.errors.LockNotAvailable: searches that look at the vectors do not end; try again.
    """
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute("select drop_encoder(%s::smallint)", (encoder_id,))
