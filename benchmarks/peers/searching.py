"""The searches side by side: the same vectors, the same questions, one at a time.

This service answers with captions, files and scores of rows that other programs may change meanwhile; the others
with numbers of rows that lie in this process's memory.
"""

import asyncio
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.database import migrate
from benchmarks.sql import claim, clustered_vectors, store
from db.connection import make_pool
from db.embedded import start_embedded
from db.embedding_index import build_embedding_index
from db.searching import search_images
from db.storing import image_id

K = 10
M, EF_CONSTRUCTION = 16, 128
WARM_UP, SLOW_QUESTIONS = 20, 5
EF_SEARCHES = (16, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512)
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Searched:
    """What a way of searching cost, and how right it was."""

    build_s: float
    median_ms: float
    recall: float
    """Of the ten nearest by exact search."""
    bytes_each: float
    """On disk, or in the file that it saves, for each picture: vectors and index."""
    how: str = ""


@dataclass(frozen=True)
class Task:
    """Vectors, questions, and the places of the true ten nearest."""

    vectors: Vectors
    questions: Vectors
    nearest: NDArray[np.int64]


def make_task(count: int, questions: int, *, dimension: int = 512) -> Task:
    """Draw vectors that lie as photos' do, and find the true answers by comparing all."""
    vectors = clustered_vectors(count, dimension, seed=1)
    asked = clustered_vectors(questions, dimension, seed=2)
    nearest = [np.argsort(-(vectors @ question), kind="stable")[:K] for question in asked]
    return Task(vectors, asked, np.array(nearest))


def this_service(task: Task) -> Searched:
    """PostgreSQL with pgvector, through the function that a question calls; five captions a picture."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_ask_postgresql(task, Path(folder)))


async def _ask_postgresql(task: Task, folder: Path) -> Searched:
    database_url = start_embedded(folder / "postgres")
    migrate(database_url)
    async with make_pool(database_url) as pool, pool.connection() as connection:
        encoder_id = await claim(connection, task.vectors.shape[1])
        await store(connection, encoder_id, task.vectors)
        started = time.perf_counter()
        await build_embedding_index(connection, encoder_id, memory_mb=1024)
        build_s = time.perf_counter() - started
        place = {image_id("synthetic", str(number).encode()): number for number in range(len(task.vectors))}
        found: list[list[int]] = []
        times: list[float] = []
        for asked in (task.questions[:WARM_UP], task.questions):
            found.clear()
            times.clear()
            for question in asked:
                started = time.perf_counter()
                hits = await search_images(connection, [question], k=K)
                times.append(time.perf_counter() - started)
                found.append([place[hit.id] for hit in hits])
        cursor = await connection.execute(
            "select pg_total_relation_size(('image_retrieval.image_embeddings_' || %s)::regclass)",
            (encoder_id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        return Searched(
            build_s,
            1000 * float(np.median(times)),
            recall(task, found),
            row[0] / len(task.vectors),
            f"ef_search {hits[0].ef_search}",
        )


def reports_dict(task: Task) -> Searched:
    """A pickled dict of names to vectors, and a loop over it in Python."""
    started = time.perf_counter()
    embeddings = {f"{number}.jpg": vector for number, vector in enumerate(task.vectors)}
    file = pickle.dumps(embeddings)
    build_s = time.perf_counter() - started
    embeddings = pickle.loads(file)

    def search(question: Vectors) -> list[int]:
        scores = []
        for name, vector in embeddings.items():
            score = np.dot(question, vector) / (np.linalg.norm(question) * np.linalg.norm(vector))
            scores.append((float(score), name))
        scores.sort(reverse=True)
        return [int(name.removesuffix(".jpg")) for _, name in scores[:K]]

    few = Task(task.vectors, task.questions[:SLOW_QUESTIONS], task.nearest[:SLOW_QUESTIONS])
    median_ms, found = asked_of(few, search)
    return Searched(build_s, median_ms, recall(few, found), len(file) / len(task.vectors), "compares all")


def faiss_flat(task: Task) -> Searched:
    """FAISS IndexFlatIP, in this process."""
    import faiss

    started = time.perf_counter()
    index = faiss.IndexFlatIP(task.vectors.shape[1])
    index.add(task.vectors)
    build_s = time.perf_counter() - started
    median_ms, found = asked_of(task, lambda question: index.search(question[None], K)[1][0].tolist())
    return Searched(build_s, median_ms, recall(task, found), _size(faiss, index, task), "compares all")


def faiss_hnsw(task: Task, *, at_least: float) -> Searched:
    """FAISS IndexHNSWFlat with this service's m and ef_construction, by the least efSearch of this recall."""
    import faiss

    started = time.perf_counter()
    index = faiss.IndexHNSWFlat(task.vectors.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(task.vectors)
    build_s = time.perf_counter() - started
    for ef_search in EF_SEARCHES:
        index.hnsw.efSearch = ef_search
        median_ms, found = asked_of(task, lambda question: index.search(question[None], K)[1][0].tolist())
        if recall(task, found) >= at_least:
            break
    return Searched(
        build_s, median_ms, recall(task, found), _size(faiss, index, task), f"efSearch {ef_search}"
    )


def asked_of(task: Task, search: Callable[[Vectors], list[int]]) -> tuple[float, list[list[int]]]:
    """Return the median in milliseconds, and what was found, after a few questions that do not count."""
    for question in task.questions[:WARM_UP]:
        search(question)
    found, times = [], []
    for question in task.questions:
        started = time.perf_counter()
        found.append(search(question))
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times)), found


def recall(task: Task, found: Sequence[Sequence[int]]) -> float:
    """Return the mean share of the true ten nearest that was found."""
    shares = [len(set(one) & set(true)) / K for one, true in zip(found, task.nearest.tolist(), strict=True)]
    return float(np.mean(shares))


def _size(faiss: Any, index: Any, task: Task) -> float:
    return len(faiss.serialize_index(index)) / len(task.vectors)
