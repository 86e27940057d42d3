"""Killed at any moment and run again, indexing finishes: nothing twice, nothing half, nothing lost."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from app.indexing import index_folder
from db.connection import make_pool
from tests.app.pictures import CountingEncoder, draw, write_pictures
from tests.conftest import ROOT

PICTURES = 200
ROWS = """
    select i.id, i.collection, i.uri, i.width, i.height, i.format, i.byte_size, i.perceptual_hash,
           i.attributes, e.embedding::text,
           array(select body from image_retrieval.captions where image_id = i.id order by position)
    from image_retrieval.images as i join image_retrieval.image_embeddings as e on e.image_id = i.id
    order by i.id
"""
WHOLE = """
    select count(*),
           count(*) filter (where exists (select from image_retrieval.image_embeddings where image_id = id)),
           count(*) filter (where (select count(*) from image_retrieval.captions where image_id = id) = 2)
    from image_retrieval.images
"""


async def run(database_url: str, folder: Path) -> None:
    """Index a folder: what the killed process does."""
    captions = {path.name: [f"{path.stem} is this", "and more"] for path in folder.iterdir()}
    async with make_pool(database_url) as pool:
        print("started", flush=True)  # noqa: T201
        await index_folder(
            folder, encoder=CountingEncoder(seconds_a_batch=0.02), pool=pool, captions=captions, batch_size=8
        )


def start(database_url: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.app.test_indexing_killed", database_url, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def finish(database_url: str, folder: Path) -> float:
    """Index to the end; return how long that took, in seconds."""
    with start(database_url, folder) as process:
        started = time.monotonic()
        assert process.wait(60) == 0
    return time.monotonic() - started


@pytest.mark.slow
def test_a_killed_run_finishes_without_duplicates(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_pictures(folder, PICTURES)
    with psycopg.connect(database_url, autocommit=True) as connection:
        whole_run_s = finish(database_url, folder)
        uninterrupted = connection.execute(ROWS).fetchall()
        assert len(uninterrupted) == PICTURES
        connection.execute("truncate image_retrieval.images cascade")
        connection.execute("drop index image_retrieval.image_embeddings_1_hnsw")

        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201
        chance = random.Random(seed)
        stored = 0
        for _ in range(8):
            with start(database_url, folder) as process:
                time.sleep(chance.uniform(0, whole_run_s / 4))
                process.kill()
            pictures, encoded, captioned = connection.execute(WHOLE).fetchone() or (0, 0, 0)
            assert encoded == captioned == pictures >= stored
            stored = pictures
            print(f"{stored} pictures stored")  # noqa: T201
        finish(database_url, folder)
        assert connection.execute(ROWS).fetchall() == uninterrupted


@pytest.mark.slow
def test_a_killed_run_over_changed_and_moved_files_finishes(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_pictures(folder, PICTURES)
    with psycopg.connect(database_url, autocommit=True) as connection:
        whole_run_s = finish(database_url, folder)
        seed = random.randrange(10**6)
        print(f"seed {seed}")  # noqa: T201
        chance = random.Random(seed)
        paths = sorted(folder.iterdir())
        for number, path in enumerate(paths[:60]):
            path.write_bytes(draw(1000 + number))
        contents = [path.read_bytes() for path in paths[60:160]]
        chance.shuffle(contents)
        for path, content in zip(paths[60:160], contents, strict=True):
            path.write_bytes(content)
        for _ in range(5):
            with start(database_url, folder) as process:
                time.sleep(chance.uniform(0, whole_run_s / 4))
                process.kill()
        finish(database_url, folder)
        changed = connection.execute(ROWS).fetchall()
        connection.execute("truncate image_retrieval.images cascade")
        finish(database_url, folder)
        assert len(changed) == PICTURES
        assert connection.execute(ROWS).fetchall() == changed


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
