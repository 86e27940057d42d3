"""Questions to the database about its own health, for `image-retrieval doctor`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import LiteralString

from db.connection import Connection
from db.gallery import ImageRow


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs: server as libpq counts (180004 is 18.4); pgvector installed (None: not), and to be had."""

    server: int
    server_name: str
    pgvector: str | None
    pgvector_available: str | None


@dataclass(frozen=True, slots=True)
class PartitionHealth:
    """One encoder's vectors: the index may be "valid", "invalid" or "missing"."""

    encoder_id: int
    name: str
    state: str
    vectors: int
    index: str


async def read_versions(connection: Connection) -> Versions:
    """Return the versions of PostgreSQL and pgvector."""
    cursor = await connection.execute(
        """
        select current_setting('server_version'),
               (select extversion from pg_extension where extname = 'vector'),
               (select default_version from pg_available_extensions where name = 'vector')
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return Versions(connection.info.server_version, *row)


async def read_revision(connection: Connection) -> str | None:
    """Return the revision of our schema, or None if it is not there."""
    cursor = await connection.execute("select to_regclass('image_retrieval.alembic_version') is not null")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return None
    cursor = await connection.execute("select version_num from image_retrieval.alembic_version")
    version = await cursor.fetchone()
    return version[0] if version else None


async def partition_health(connection: Connection) -> list[PartitionHealth]:
    """Return the state of each encoder's vectors and index."""
    cursor = await connection.execute(
        """
        select encoders.id, encoders.name, encoders.state,
               (select count(*) from image_retrieval.image_embeddings where encoder_id = encoders.id),
               case when pg_index.indexrelid is null then 'missing'
                    when pg_index.indisvalid then 'valid'
                    else 'invalid'
               end
        from image_retrieval.encoders
        left join pg_index
            on indexrelid = to_regclass('image_retrieval.image_embeddings_' || encoders.id || '_hnsw')
        order by encoders.id
        """
    )
    return [PartitionHealth(*row) async for row in cursor]


async def count_images_without_vectors(connection: Connection, encoder_id: int) -> int:
    """Return how many pictures this encoder has not seen."""
    return await _count(
        connection,
        """
        select count(*)
        from image_retrieval.images
        where not exists (
            select from image_retrieval.image_embeddings where encoder_id = %s and image_id = images.id
        )
        """,
        encoder_id,
    )


async def count_vectors_without_images(connection: Connection, encoder_id: int) -> int:
    """Return how many of this encoder's vectors belong to no picture; foreign keys, where held, forbid it."""
    return await _count(
        connection,
        """
        select count(*)
        from image_retrieval.image_embeddings
        where encoder_id = %s and not exists (select from image_retrieval.images where id = image_id)
        """,
        encoder_id,
    )


async def picture_places(connection: Connection) -> AsyncIterator[tuple[ImageRow, str | None]]:
    """Yield every picture with its collection's root."""
    async with connection.transaction(), connection.cursor(name="picture_places") as cursor:
        await cursor.execute(
            """
            select images.id, images.collection, images.uri, images.width, images.height, images.format,
                   images.byte_size, images.taken_at, images.perceptual_hash, images.attributes,
                   collections.root
            from image_retrieval.images
            join image_retrieval.collections on collections.name = images.collection
            order by images.collection, images.uri
            """
        )
        async for *image, root in cursor:
            yield ImageRow(*image), root


async def _count(connection: Connection, query: LiteralString, encoder_id: int) -> int:
    cursor = await connection.execute(query, (encoder_id,))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
