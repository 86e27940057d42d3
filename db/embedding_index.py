"""The HNSW index of an encoder's vectors: is it there, build it, drop it, how far is it."""

from psycopg.sql import SQL, Identifier

from db.connection import Connection


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
