"""A gallery lives through whatever may happen to one, and after every step holds and finds what a model says.

The model is a dictionary and numpy. Pictures are indexed from a folder, uploaded, sent twice, deleted, given
other captions, seen by another encoder, by some of them only; the gallery changes encoders and back, and is
vacuumed. Searches take filters, pages and exact answers. All of it on a real PostgreSQL with its HNSW index.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from app.indexing import index_folder
from app.service import claim
from app.uploads import add_image, remove_image
from db.checks import count_vectors_without_images, partition_health, picture_places
from db.connection import Pool, make_pool
from db.embedding_index import build_embedding_index
from db.gallery import Caption, captions_of, find_images
from db.searching import Filters, Hit, search_images, similar_images
from db.storing import image_id, store_images
from embedding.images import decode_image
from tests.app.pictures import draw
from tests.conftest import _database
from tests.encoders import FakeEncoder

FOLDER = "folder"
ENCODERS = (FakeEncoder("fake/first"), FakeEncoder("fake/second", dimension=48))
Vector = NDArray[np.float32]

numbers = st.integers(0, 14)
said = st.lists(st.sampled_from(["a dog", "một con chó", "two words", "<b>x</b>"]), max_size=3)
attributes = st.dictionaries(st.sampled_from(["year", "place"]), st.integers(1, 2), max_size=2)
filters = st.fixed_dictionaries(
    {},
    optional={
        "collection": st.sampled_from([FOLDER, "uploads", "shop", "none"]),
        "attributes": attributes,
        "exclude": st.lists(numbers, max_size=4),
    },
)


@dataclass
class Picture:
    """What the model knows of a picture: where it is, what is said of it, and which encoders have seen it."""

    number: int
    collection: str
    captions: list[str]
    attributes: dict[str, int] = field(default_factory=dict)
    seen_by: set[int] = field(default_factory=set)


class GalleryMachine(RuleBasedStateMachine):
    """The steps; each does the same to the gallery and to the model."""

    def __init__(self, server: str, template: str) -> None:
        super().__init__()
        self.database = _database(server, template)
        self.place = tempfile.TemporaryDirectory(prefix="image-retrieval-")
        self.folder = Path(self.place.name) / FOLDER
        self.folder.mkdir()
        self.uploads = Path(self.place.name) / "uploads"
        self.runner = asyncio.Runner()
        self.pool: Pool = make_pool(next(self.database))
        self.model: dict[UUID, Picture] = {}
        self.files: set[int] = set()
        self.active = 0
        self.encoder_ids: list[int] = []
        self.vectors = [np.stack([_vector(encoder, n) for n in range(15)]) for encoder in ENCODERS]
        self.runner.run(self._open())

    def teardown(self) -> None:
        self.runner.run(self.pool.close())
        self.runner.close()
        next(self.database, None)
        self.place.cleanup()

    # what happens to it

    @rule(new=st.sets(numbers, min_size=1, max_size=6), captions=said, twice=st.booleans())
    def index(self, new: set[int], captions: list[str], twice: bool) -> None:
        self.files |= new
        for number in new:
            (self.folder / f"{number:05}.jpg").write_bytes(draw(number))
            if twice:
                (self.folder / f"copy-of-{number:05}.jpg").write_bytes(draw(number))
        told = {f"{number:05}.jpg": captions for number in new} if captions else {}
        report = self.runner.run(
            index_folder(
                self.folder, encoder=ENCODERS[self.active], pool=self.pool, collection=FOLDER, captions=told
            )
        )
        assert report.failed == []
        unseen = 0
        for number in self.files:
            picture = self.model.setdefault(
                image_id(FOLDER, draw(number)), Picture(number, FOLDER, captions=[])
            )
            unseen += self.active not in picture.seen_by
            picture.seen_by.add(self.active)
            if captions and number in new:
                picture.captions = captions
        assert report.indexed == unseen

    @rule(
        number=st.integers(0, 3),  # few, so that the same comes twice
        collection=st.sampled_from(["uploads", "shop"]),
        captions=said,
        known=attributes,
    )
    def upload(self, number: int, collection: str, captions: list[str], known: dict[str, int]) -> None:
        row, created = self.runner.run(self._upload(number, collection, captions, known))
        assert row.id == image_id(collection, draw(number))
        assert created == (row.id not in self.model)
        picture = self.model.setdefault(row.id, Picture(number, collection, captions, known))
        picture.captions = captions or picture.captions
        picture.attributes = known or picture.attributes
        picture.seen_by.add(self.active)
        assert self.runner.run(self._captions(row.id)) == picture.captions

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(sorted(self.model)))
        for there in (True, False):
            assert self.runner.run(remove_image(self.pool, gone, self.uploads)) is there
        del self.model[gone]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def show_to_the_other_encoder(self, data: st.DataObject) -> None:
        ids = data.draw(st.sets(st.sampled_from(sorted(self.model)), min_size=1))
        other = 1 - self.active
        self.runner.run(self._store(other, sorted(ids)))
        for id_ in ids:
            self.model[id_].seen_by.add(other)

    @rule()
    def change_encoders(self) -> None:
        self.active = 1 - self.active
        self.runner.run(self._execute("select activate_encoder(%s::smallint)", self.encoder_ids[self.active]))

    @rule()
    def vacuum(self) -> None:
        self.runner.run(self._execute("vacuum analyze images, image_embeddings"))

    # what it answers

    @rule(
        numbers=st.lists(numbers, min_size=1, max_size=2, unique=True),
        k=st.integers(1, 40),
        skip=st.sampled_from([0, 0, 0, 1, 7]),
        narrowed=filters,
        exact=st.booleans(),
    )
    def search(self, numbers: list[int], k: int, skip: int, narrowed: dict[str, Any], exact: bool) -> None:
        terms = [self.vectors[self.active][number] for number in numbers]
        weights = [1.0, -0.3][: len(terms)]
        excluded = {
            id_ for id_, picture in self.model.items() if picture.number in narrowed.get("exclude", [])
        }
        hits = self.runner.run(
            self._search(
                terms, weights, k=k, skip=skip, exact=exact,
                filters=Filters(**{**narrowed, "exclude": tuple(sorted(excluded))}),
            )
        )  # fmt: skip
        matching = {
            id_
            for id_, picture in self.model.items()
            if id_ not in excluded
            and picture.collection == narrowed.get("collection", picture.collection)
            and narrowed.get("attributes", {}).items() <= picture.attributes.items()
        }
        self._require(hits, np.dot(weights, terms), matching, k, skip)

    @precondition(lambda self: any(self.active in picture.seen_by for picture in self.model.values()))
    @rule(data=st.data(), k=st.integers(1, 40))
    def ask_for_similar_ones(self, data: st.DataObject, k: int) -> None:
        seen = sorted(id_ for id_, picture in self.model.items() if self.active in picture.seen_by)
        id_ = data.draw(st.sampled_from(seen))
        hits = self.runner.run(self._similar(id_, k))
        query = self.vectors[self.active][self.model[id_].number]
        self._require(hits, query, self.model.keys() - {id_}, k, 0)

    @invariant()
    def it_holds_what_the_model_says(self) -> None:
        rows, places, healths, orphans = self.runner.run(self._look())
        assert rows.keys() == self.model.keys()
        for id_, (row, _) in rows.items():
            assert row.collection == self.model[id_].collection
            assert row.attributes == self.model[id_].attributes
        for row, root in places:
            assert image_id(row.collection, (Path(root or self.uploads) / row.uri).read_bytes()) == row.id
        for place, health in enumerate(healths):
            assert health.vectors == sum(place in picture.seen_by for picture in self.model.values())
            assert health.index != "invalid"
            assert health.state == ("active" if place == self.active else "ready")
        assert orphans == 0

    # how

    def _require(self, hits: list[Hit], query: Vector, matching: set[UUID], k: int, skip: int) -> None:
        """Fail unless these are the model's nearest of those that match: k of them, in order, as it says."""
        query = query / np.linalg.norm(query)
        expected = {
            id_: float(self.vectors[self.active][self.model[id_].number] @ query)
            for id_ in matching
            if self.active in self.model[id_].seen_by
        }
        best = sorted(expected.values(), reverse=True)[skip : skip + k]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=2e-3)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert len({hit.id for hit in hits}) == len(hits)
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.id], abs=2e-3)
            assert hit.captions == self.model[hit.id].captions

    async def _open(self) -> None:
        await self.pool.open()
        async with self.pool.connection() as connection:
            self.encoder_ids.append(await claim(connection, ENCODERS[0]))
            other = ENCODERS[1]
            cursor = await connection.execute(
                "select register_encoder('second', %s, %s, %s)",
                (other.checkpoint, other.fingerprint, other.dimension),
            )
            row = await cursor.fetchone()
            assert row is not None
            self.encoder_ids.append(row[0])
            await connection.execute("update encoders set state = 'ready' where state = 'loading'")

    async def _upload(self, number: int, collection: str, captions: list[str], known: dict[str, int]) -> Any:
        encoder = ENCODERS[self.active]

        async def encode(image: Any) -> Vector:
            return encoder.encode_images([image])[0]

        return await add_image(
            draw(number), name="picture", captions=[Caption(body) for body in captions], attributes=known,
            collection=collection, encode_image=encode, pool=self.pool,
            encoder_id=self.encoder_ids[self.active], upload_dir=self.uploads, max_pixels=1_000_000,
        )  # fmt: skip

    async def _store(self, place: int, ids: list[UUID]) -> None:
        async with self.pool.connection() as connection:
            found = await find_images(connection, ids)
            rows = [found[id_][0] for id_ in ids]
            vectors = self.vectors[place][[self.model[id_].number for id_ in ids]]
            await store_images(connection, self.encoder_ids[place], rows, [[] for _ in rows], vectors)
            await build_embedding_index(connection, self.encoder_ids[place], memory_mb=16)

    async def _execute(self, statement: Any, *arguments: object) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(statement, arguments)

    async def _search(self, terms: list[Vector], weights: list[float], **options: Any) -> list[Hit]:
        async with self.pool.connection() as connection:
            return await search_images(connection, terms, weights, **options)

    async def _captions(self, id_: UUID) -> list[str]:
        async with self.pool.connection() as connection:
            return [caption.body for caption in await captions_of(connection, id_)]

    async def _similar(self, id_: UUID, k: int) -> list[Hit]:
        async with self.pool.connection() as connection:
            return await similar_images(connection, id_, k=k)

    async def _look(self) -> tuple[Any, Any, Any, int]:
        async with self.pool.connection() as connection:
            places = [place async for place in picture_places(connection)]
            found = await find_images(connection, [row.id for row, _ in places])
            orphans = [await count_vectors_without_images(connection, id_) for id_ in self.encoder_ids]
            return found, places, await partition_health(connection), sum(orphans)


def _vector(encoder: FakeEncoder, number: int) -> Vector:
    return encoder.encode_images([decode_image(draw(number), name="picture")])[0]


def live(server: str, template: str, *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: GalleryMachine(server, template),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],  # making a life shorter takes minutes, a database each
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_gallery_holds_and_finds_what_the_model_says_whatever_happens(server: str, template: str) -> None:
    live(server, template, examples=12, steps=20)


@pytest.mark.fuzz
def test_many_long_lives_of_a_gallery_end_as_the_model_says(server: str, template: str) -> None:
    live(server, template, examples=100, steps=60)
