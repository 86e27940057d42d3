"""What the HNSW index is worth after all that happens to a gallery, beside exact answers to the same questions.

    python -m benchmarks.index_truth [--images 24000] [--dimension 128] [--questions 100]

In turn: bulk load; 30 % and 75 % deleted and not vacuumed; vacuumed; the deleted ones inserted again one batch after the
other; all seen by another encoder, which the gallery changes to; a backend killed (-9) in the midst of writing, which
takes the whole server through crash recovery; REINDEX CONCURRENTLY while four clients ask and one writes. Autovacuum is
off. After each: recall@10 and @100, recall@10 under filters keeping 10 % and 1 %, and how many answers had fewer rows
than min(k, matches), which should be none.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg

from app.database import migrate
from benchmarks.sql import clustered_vectors, fill, store
from db.connection import Connection, Pool, make_pool
from db.embedded import start_embedded
from db.embedding_index import build_embedding_index
from db.gallery import Embedding
from db.searching import Filters, search_images

ALL, TENTH, HUNDREDTH = (
    Filters(),
    Filters(attributes={"tenth": True}),
    Filters(attributes={"hundredth": True}),
)
ASKED = ((10, ALL), (100, ALL), (10, TENTH), (10, HUNDREDTH))
LIMITS = (0.99, 0.98, 0.99, 0.99)


@dataclass(frozen=True)
class Stage:
    """What was found after something had happened; recalls are those of ASKED, short counts short answers."""

    name: str
    recalls: Sequence[float]
    answers: int
    short: int


async def stages(
    pool: Pool, vectors: Embedding, others: Embedding, questions: Embedding
) -> AsyncIterator[Stage]:
    """Let it all happen to a new gallery, and yield what was found after each."""
    async with pool.connection() as connection:
        encoder_id = await fill(connection, vectors)
        await connection.execute("alter table image_embeddings_1 set (autovacuum_enabled = off)")
    yield await look("bulk load", pool, questions)
    for share in (30, 75):
        await run(
            pool, f"delete from images where ('x' || right(id::text, 6))::bit(24)::integer % 100 < {share}"
        )
        yield await look(f"{share} % deleted", pool, questions)
    await run(pool, "vacuum images, captions, image_embeddings")
    yield await look("vacuumed", pool, questions)
    async with pool.connection() as connection:
        await store(connection, encoder_id, vectors)
    yield await look("inserted again", pool, questions)
    async with pool.connection() as connection:
        await change_encoders(connection, others)
    yield await look("another encoder", pool, questions)
    await kill_a_writer(pool, others)
    yield await look("killed", pool, questions)
    short = await reindex_under_load(pool, questions)
    after = await look("reindexed under load", pool, questions)
    yield Stage(after.name, after.recalls, after.answers + short[0], after.short + short[1])


async def look(name: str, pool: Pool, questions: Embedding) -> Stage:
    """Ask every question with the index and exactly."""
    recalls, short = [], 0
    async with pool.connection() as connection:
        for k, filters in ASKED:
            shares = []
            for question in questions:
                found = await search_images(connection, [question], k=k, filters=filters)
                exact = await search_images(connection, [question], k=k, filters=filters, exact=True)
                short += len(found) < len(exact)
                shares.append(len({hit.id for hit in found} & {hit.id for hit in exact}) / max(len(exact), 1))
            recalls.append(float(np.mean(shares)))
    return Stage(name, recalls, len(questions) * len(ASKED), short)


async def change_encoders(connection: Connection, vectors: Embedding) -> None:
    """Let another encoder see every picture, build its index, and let the gallery change to it."""
    cursor = await connection.execute(
        "select register_encoder('another', 'another', repeat('1', 64), %s)", (vectors.shape[1],)
    )
    row = await cursor.fetchone()
    assert row is not None
    await connection.execute("alter table image_embeddings_2 set (autovacuum_enabled = off)")
    await store(connection, row[0], vectors)
    await build_embedding_index(connection, row[0], memory_mb=1024)
    await connection.execute("select activate_encoder(%s::smallint)", (row[0],))


async def kill_a_writer(pool: Pool, vectors: Embedding) -> None:
    """Kill a backend while it writes: the server ends all others and recovers from its log."""
    async with pool.connection() as connection:
        writer = connection.info.backend_pid
        await connection.execute(
            "delete from image_embeddings_2 where get_byte(uuid_send(image_id), 15) < 64"
        )
        writing = asyncio.create_task(store(connection, 2, vectors))
        await asyncio.sleep(0.5)
        os.kill(writer, signal.SIGKILL)
        with suppress(psycopg.OperationalError):
            await writing
    while True:
        with suppress(psycopg.OperationalError):
            await run(pool, "select 1")
            break
        await asyncio.sleep(0.2)
    async with pool.connection() as connection:
        await store(connection, 2, vectors)


async def reindex_under_load(pool: Pool, questions: Embedding) -> tuple[int, int]:
    """Build the index anew beside the old while clients ask and write; return answers, and those too short."""
    done = asyncio.Event()
    lengths: list[int] = []

    async def ask() -> None:
        while not done.is_set():
            for question in questions:
                async with pool.connection() as connection:
                    lengths.append(len(await search_images(connection, [question], k=10)))

    async def write() -> None:
        while not done.is_set():
            await run(pool, "update image_embeddings_2 set embedding = embedding where random() < 0.002")

    async with asyncio.TaskGroup() as clients:
        for client in (ask, ask, ask, ask, write):
            clients.create_task(client())
        await run(pool, "reindex index concurrently image_embeddings_2_hnsw")
        done.set()
    return len(lengths), sum(length < 10 for length in lengths)


async def run(pool: Pool, statement: str) -> None:
    """Run one statement, however long it takes."""
    async with pool.connection() as connection:
        await connection.execute(statement)  # type: ignore[arg-type]


async def measure(folder: Path, images: int, dimension: int, count: int) -> list[Stage]:
    """Let it all happen in a new server in this folder, print what is found, and return it."""
    database_url = start_embedded(folder / "postgres")
    migrate(database_url)
    vectors, questions, others = (
        clustered_vectors(n, dimension, seed=seed) for seed, n in ((1, images), (2, count), (3, images))
    )
    found = []
    print(f"{'':24}recall@10  recall@100  keeping 10 %  keeping 1 %   short answers")
    async with make_pool(database_url, size=8) as pool:
        started = time.perf_counter()
        async for stage in stages(pool, vectors, others, questions):
            found.append(stage)
            print(
                f"{stage.name:24}{stage.recalls[0]:9.4f}{stage.recalls[1]:12.4f}{stage.recalls[2]:14.4f}"
                f"{stage.recalls[3]:13.4f}{stage.short:10} of {stage.answers}   {time.perf_counter() - started:.0f} s"
            )
    print(f"{'limits':24}" + "     ≥ ".join(["", *map(str, LIMITS)]) + "   0")
    return found


def main() -> None:
    """Read the arguments and measure in a temporary database."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--questions", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), arguments.images, arguments.dimension, arguments.questions))


if __name__ == "__main__":
    main()
