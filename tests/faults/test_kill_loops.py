"""kill -9 of the indexer, again and again, over the gallery of scenes.

    pytest -m slow -s tests/faults/test_kill_loops.py

does it a hundred times and prints what came of it; FAULT_SEED=… replays the moments.
"""

import hashlib
import random
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector

from tests.encoders import tiny_clip
from tests.faults import LONG
from tests.faults.indexer import start_indexer
from training.captions import load_flickr8k_captions
from training.scenes import gallery, write_gallery

ROWS = """
    select i.id, i.collection, i.uri, i.width, i.height, i.format, i.byte_size, i.perceptual_hash,
           array(select body from image_retrieval.captions where image_id = i.id order by position)
    from image_retrieval.images as i
    order by i.id
"""
EMBEDDINGS = "select image_id, embedding from image_retrieval.image_embeddings order by image_id"


class Gallery:
    """What the indexer makes of a folder, looked at while it is killed."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], folder: Path) -> None:
        register_vector(connection)
        self._connection = connection
        self._captions = load_flickr8k_captions(folder / "captions.txt")
        self.files = {path.name: path.read_bytes() for path in folder.glob("*.jpg")}

    def require_whole(self) -> int:
        """Assert that each picture has its captions and its vector; return how many there are."""
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read")
            rows = self._connection.execute(ROWS).fetchall()
            encoded = self._connection.execute(EMBEDDINGS).fetchall()
        assert [row[0] for row in rows] == [row[0] for row in encoded]
        for _, _, uri, _, _, _, byte_size, _, captions in rows:
            assert captions == list(self._captions[uri])
            assert byte_size == len(self.files[uri])
        assert len({row[2] for row in rows}) == len(rows)
        return len(rows)

    def checksum(self) -> str:
        """Return SHA-256 over every row but its vector."""
        return hashlib.sha256(repr(self._connection.execute(ROWS).fetchall()).encode()).hexdigest()

    def embeddings(self) -> np.ndarray:
        rows = self._connection.execute(EMBEDDINGS).fetchall()
        return np.array([row[1].to_numpy() for row in rows], np.float32)

    def empty(self) -> None:
        """Take everything out, the index too."""
        self._connection.execute("truncate image_retrieval.images cascade")
        self._connection.execute("drop index image_retrieval.image_embeddings_1_hnsw")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "clip")


@pytest.mark.parametrize(
    ("kills", "scenes"), [pytest.param(3, 64, marks=pytest.mark.slow), pytest.param(100, 300, marks=LONG)]
)
def test_an_indexer_killed_again_and_again_ends_with_every_picture_once(
    kills: int, scenes: int, checkpoint: Path, database_url: str, tmp_path: Path, chance: random.Random
) -> None:
    write_gallery(tmp_path / "scenes", gallery(scenes, seed=0))
    with psycopg.connect(database_url, autocommit=True) as connection:
        there = Gallery(connection, tmp_path / "scenes")

        def finish() -> float:
            process = start_indexer(database_url, tmp_path / "scenes", checkpoint)
            started = time.monotonic()
            process.join(120)
            assert process.exitcode == 0
            assert there.require_whole() == len(there.files)
            return time.monotonic() - started

        finish()  # whatever is slow once
        there.empty()
        whole_run_s = finish()
        checksum, embeddings = there.checksum(), there.embeddings()
        there.empty()
        stored = fillings = at_work = 0
        for _ in range(kills):
            process = start_indexer(database_url, tmp_path / "scenes", checkpoint)
            time.sleep(chance.uniform(0, whole_run_s))
            process.kill()
            process.join(30)
            now = there.require_whole()
            assert now >= stored
            at_work += stored < now < len(there.files)
            stored = now
            if stored == len(there.files):
                finish()  # it may have been killed before the index was built
                assert there.checksum() == checksum
                there.empty()
                stored, fillings = 0, fillings + 1
        finish()
        assert there.checksum() == checksum
        assert np.sum(there.embeddings() * embeddings, axis=1).min() > 0.999
        print(  # noqa: T201
            f"{kills} kills over {scenes} scenes, {at_work} of them between the first picture and the last,"
            f" {fillings + 1} galleries completed: {len(there.files)} pictures, each once, SHA-256 of the"
            f" rows {checksum[:12]} as without a kill"
        )
