"""The HNSW index around a bulk load: out of the way before it where that pays, and there after it."""

import asyncio

from app.progress import Progress
from db.connection import Pool
from db.embedding_index import (
    build_embedding_index,
    count_embeddings,
    drop_embedding_index,
    has_embedding_index,
    index_build_progress,
)

FEW_VECTORS = 1000
POLL_S = 0.5


async def drop_index_before_load(pool: Pool, encoder_id: int, arriving: int) -> None:
    """Drop an index over few vectors, such as one made for an empty gallery, before a larger load.

    Building it once afterwards is far quicker than adding row by row, and exact search does for few.
    """
    async with pool.connection() as connection:
        if await count_embeddings(connection, encoder_id) < FEW_VECTORS < arriving:
            await drop_embedding_index(connection, encoder_id)


async def build_index_after_load(pool: Pool, encoder_id: int, dimension: int, progress: Progress) -> bool:
    """Build the index unless it is there, or there is nothing to index; return whether it was built."""
    async with pool.connection() as connection:
        vectors = await count_embeddings(connection, encoder_id)
        if vectors == 0 or await has_embedding_index(connection, encoder_id):
            return False
        progress.begin("building the index", vectors)
        watching = asyncio.create_task(_watch_index(pool, progress))
        try:
            return await build_embedding_index(
                connection, encoder_id, memory_mb=_index_memory_mb(vectors, dimension)
            )
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _watch_index(pool: Pool, progress: Progress) -> None:
    while True:
        await asyncio.sleep(POLL_S)
        async with pool.connection() as connection:
            if reached := await index_build_progress(connection):
                progress.reach(*reached)


def _index_memory_mb(vectors: int, dimension: int) -> int:
    """Return maintenance_work_mem: enough for the whole graph and a third more, from 64 MB to 2 GB.

    A node takes its halfvec, about 300 bytes of its own, and 16 for each of 32 neighbours and some above.
    """
    return min(max(vectors * (2 * dimension + 1000) * 4 // 3 // 2**20, 64), 2048)
