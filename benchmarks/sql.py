"""Search in SQL at 100,000 pictures of 512 dimensions with five captions each: milliseconds and index recall.

    python -m benchmarks.sql [--images 100000] [--dimension 512] [--questions 500]

Vectors are drawn around 1,000 centres in 32 directions and lifted to 512 dimensions with noise, as photo embeddings
lie: clustered, of low intrinsic dimension. (Independent random directions are all equally far apart; no index can
tell them apart, and no encoder makes them.) The peer is a bare table of the same vectors with the same index.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from pgvector import HalfVector, Vector

from app.database import migrate
from db.background import background_scores
from db.connection import Connection, make_pool
from db.embedded import start_embedded
from db.embedding_index import build_embedding_index
from db.gallery import Caption, Embedding, ImageRow
from db.searching import Filters, Ranking, search_images
from db.storing import claim_collection, claim_encoder, image_id, store_images

BATCH = 1000
K = 10


def clustered_vectors(n: int, dimension: int, *, seed: int) -> Embedding:
    """Return float32 (n, dimension), unit rows, clustered as photo embeddings are."""
    world = np.random.default_rng(0)  # the same centres and directions for gallery and questions
    centres = world.standard_normal((1000, 32))
    directions = world.standard_normal((32, dimension))
    rng = np.random.default_rng(seed)
    latent = centres[rng.integers(0, 1000, n)] + 0.6 * rng.standard_normal((n, 32))
    vectors = latent @ directions + 0.5 * rng.standard_normal((n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


async def fill(connection: Connection, vectors: Embedding) -> int:
    """Store the vectors as pictures with five captions each, and index them; return the encoder's id."""
    encoder_id = await claim(connection, vectors.shape[1])
    await store(connection, encoder_id, vectors)
    started = time.perf_counter()
    await build_embedding_index(connection, encoder_id, memory_mb=1024)
    print(f"index built in {time.perf_counter() - started:.1f} s")
    return encoder_id


async def claim(connection: Connection, dimension: int) -> int:
    """Register the encoder and the collection of what store stores; return the encoder's id."""
    encoder_id = await claim_encoder(
        connection,
        name="synthetic",
        checkpoint="synthetic",
        fingerprint="0" * 64,
        dimension=dimension,
        preprocessing={},
    )
    await claim_collection(connection, "synthetic", root="/synthetic")
    return encoder_id


async def store(connection: Connection, encoder_id: int, vectors: Embedding) -> None:
    """Store the vectors as those of pictures 0, 1, … by this encoder; what is there already stays."""
    for start in range(0, len(vectors), BATCH):
        numbers = range(start, min(start + BATCH, len(vectors)))
        images = [
            ImageRow(
                image_id("synthetic", str(number).encode()), "synthetic", f"{number}.jpg", 640, 480, "jpeg", 1, None,
                0, {"tenth": number % 10 == 0, "hundredth": number % 100 == 0},
            )
            for number in numbers
        ]  # fmt: skip
        captions = [
            [
                Caption(f"caption {position} of picture {number}, as people write them")
                for position in range(5)
            ]
            for number in numbers
        ]
        await store_images(connection, encoder_id, images, captions, vectors[start : start + BATCH])


async def fill_peer(connection: Connection, vectors: Embedding) -> None:
    """Make a bare table of the same vectors with the same index."""
    dimension = vectors.shape[1]
    await connection.execute(f"create table bare (id integer, embedding halfvec({dimension}))")  # type: ignore[arg-type]
    async with connection.cursor() as cursor, cursor.copy("copy bare from stdin (format binary)") as copy:
        copy.set_types(["int4", "halfvec"])
        for number, vector in enumerate(vectors):
            await copy.write_row((number, HalfVector(vector)))
    await connection.execute("set maintenance_work_mem = '1GB'")
    await connection.execute(
        "create index on bare using hnsw (embedding halfvec_cosine_ops) with (m = 16, ef_construction = 128)"
    )
    await connection.execute("analyze bare")


async def median_ms(
    questions: Embedding, ask: Callable[[Embedding], Awaitable[object]]
) -> tuple[float, float]:
    """Return median and 95th percentile in milliseconds, after a warm-up round over all questions."""
    times = []
    for timed in (False, True):
        for question in questions:
            started = time.perf_counter()
            await ask(question)
            if timed:
                times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times)), float(np.quantile(times, 0.95))


async def index_recall(connection: Connection, questions: Embedding, filters: Filters) -> float:
    """Return the mean share of the true ten nearest that the indexed search returns."""
    shares = []
    for question in questions:
        found = await search_images(connection, [question], k=K, filters=filters)
        exact = await search_images(connection, [question], k=K, filters=filters, exact=True)
        shares.append(len({hit.id for hit in found} & {hit.id for hit in exact}) / max(len(exact), 1))
    return float(np.mean(shares))


async def measure(folder: Path, images: int, dimension: int, count: int) -> None:
    """Fill a database in this folder, measure, and print."""
    database_url = start_embedded(folder / "postgres")
    migrate(database_url)
    vectors = clustered_vectors(images, dimension, seed=1)
    questions = clustered_vectors(count, dimension, seed=2)
    async with make_pool(database_url) as pool, pool.connection() as connection:
        await fill(connection, vectors)
        await fill_peer(connection, vectors)

        async def function(question: Embedding) -> None:
            await search_images(connection, [question], k=K)

        async def hybrid(question: Embedding) -> None:
            await search_images(connection, [question, questions[0]], [0.6, 0.4], k=K)

        async def spoken(question: Embedding) -> None:
            words = Ranking(f"caption 3 of picture {int(1e6 * abs(question[0])) % images}", 0.2)
            await search_images(connection, [question], k=K, ranking=words)

        async def folded(question: Embedding) -> None:
            await search_images(connection, [question], k=K, ranking=Ranking(fold_duplicates=0.02))

        async def background(question: Embedding) -> None:
            await background_scores(connection, [question])

        async def view(question: Embedding) -> None:
            await connection.execute(
                "select id, uri, embedding <=> %(q)s from gallery order by embedding <=> %(q)s limit 10",
                {"q": Vector(question)},
                binary=True,
            )

        async def bare(question: Embedding) -> None:
            await connection.execute(
                "select id, embedding <=> %(q)s from bare order by embedding <=> %(q)s limit 10",
                {"q": Vector(question)},
                binary=True,
            )

        peer, _ = await median_ms(questions, bare)
        print(f"{'':36}median ms    p95 ms   of the bare table's")
        print(f"{'bare table, no captions':36}{peer:9.2f}")
        for name, ask in (("view gallery", view), ("search_images, captions, scores", function),
                          ("the same, words and picture", hybrid), ("with captions that count", spoken),
                          ("with near duplicates folded", folded), ("background_scores alone", background)):  # fmt: skip
            median, tail = await median_ms(questions, ask)
            print(f"{name:36}{median:9.2f} {tail:9.2f} {median / peer:9.2f}")
        for name, filters in (("all", Filters()), ("10 %", Filters(attributes={"tenth": True})),
                              ("1 %", Filters(attributes={"hundredth": True}))):  # fmt: skip
            recall = await index_recall(connection, questions[:200], filters)
            print(f"index recall@10, filter keeping {name:5} {recall:.4f}")


def main() -> None:
    """Read the arguments and measure in a temporary database."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--questions", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), arguments.images, arguments.dimension, arguments.questions))


if __name__ == "__main__":
    main()
