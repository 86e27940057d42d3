"""What nearest-neighbour normalisation stands on: reference captions as vectors, and each picture's bias.

Source of the method: migrations/sql/fill_biases_v1.sql. Every connection comes from db.connection's pool, in
autocommit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pgvector import HalfVector
from psycopg.errors import ObjectNotInPrerequisiteState
from psycopg.rows import class_row

from db.connection import Connection
from db.errors import NotNormalisedError
from db.gallery import Embedding
from db.storing import patient_transaction


@dataclass(frozen=True, slots=True)
class ReferenceCaption:
    """A caption that is to be among the reference."""

    image_id: UUID
    position: int
    body: str


async def choose_reference(connection: Connection, encoder_id: int, at_most: int) -> list[ReferenceCaption]:
    """Make the reference a sample of at_most captions; return those of them that have no vector yet.

    Which they are hangs on the captions' keys alone, so that choosing again chooses the same.
    """
    async with (
        patient_transaction(connection),
        connection.cursor(row_factory=class_row(ReferenceCaption)) as cursor,
    ):
        await cursor.execute(
            """
            with chosen as materialized (
                select image_id, position, body
                from captions
                order by md5(image_id || '/' || position)
                limit %(at_most)s
            ),
            no_longer_chosen as (
                delete from reference_captions as known
                where known.encoder_id = %(encoder)s
                  and (known.image_id, known.position) not in (select image_id, position from chosen)
            )
            select chosen.image_id, chosen.position, chosen.body
            from chosen
            where (chosen.image_id, chosen.position) not in (
                select image_id, position from reference_captions where encoder_id = %(encoder)s
            )
            """,
            {"encoder": encoder_id, "at_most": at_most},
        )
        return await cursor.fetchall()


async def store_reference(
    connection: Connection, encoder_id: int, captions: Sequence[ReferenceCaption], embeddings: Embedding
) -> None:
    """Store the vectors of reference captions, float32 (n, d); a caption that has changed is passed over."""
    await connection.execute(
        """
        insert into reference_captions (encoder_id, image_id, position, embedding)
        select %s, captions.image_id, captions.position, encoded.embedding
        from unnest(%s::uuid[], %s::smallint[], %s::text[], %s::halfvec[])
            as encoded (image_id, position, body, embedding)
        join captions using (image_id, position, body)
        on conflict do nothing
        """,
        (
            encoder_id,
            [caption.image_id for caption in captions],
            [caption.position for caption in captions],
            [caption.body for caption in captions],
            [HalfVector(embedding) for embedding in embeddings],
        ),
    )


async def fill_biases(connection: Connection, encoder_id: int, *, at_most: int = 1000) -> int:
    """Work out the biases of at most so many pictures that lack one by this reference; return how many.

    Raises:
        NotNormalisedError: there is no reference, for there are no captions.
    """
    try:
        async with patient_transaction(connection):
            cursor = await connection.execute("select fill_biases(%s::smallint, %s)", (encoder_id, at_most))
            row = await cursor.fetchone()
    except ObjectNotInPrerequisiteState as error:
        raise NotNormalisedError(
            "the gallery has no captions for its pictures to be compared with"
        ) from error
    return int(row[0]) if row else 0


async def fill_chance(connection: Connection, encoder_id: int) -> None:
    """Work out how near captions come to pictures that they were not written for."""
    async with patient_transaction(connection):
        await connection.execute("select fill_chance(%s::smallint)", (encoder_id,))


async def count_without_bias(connection: Connection, encoder_id: int) -> int:
    """Return how many pictures' biases fill_biases has to work out."""
    cursor = await connection.execute(
        """
        select count(*)
        from image_embeddings as pictures
        left join image_biases as known using (encoder_id, image_id)
        where pictures.encoder_id = %(encoder)s
          and known.reference is distinct from reference_digest(%(encoder)s::smallint)
        """,
        {"encoder": encoder_id},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
