"""Whichever of our steps fails, and however: what is there is whole, and doing it again completes it.

After SQLite's tests: fail the n-th call, for every n. FAULT_SEED=… replays which steps, and how they fail.
"""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import psycopg_pool
import pytest

from app.indexing import IndexReport, index_folder
from app.service import Service, open_service
from app.settings import Settings
from db.connection import Pool, make_pool
from embedding.errors import EncoderOutOfMemoryError
from tests.app.conftest import connect
from tests.app.pictures import draw, write_pictures
from tests.app.test_indexing_killed import ROWS
from tests.conftest import _database
from tests.faults import LONG
from tests.faults.invariants import DOCUMENTED, Told, require_sound
from tests.faults.steps import StepEncoder, Steps
from tests.faults.traffic import captions_of, expect_folder

PICTURES = 50
SHARE = 10
"""Steps that fail in an ordinary run, of some three hundred."""
ENDS_A_RUN = (
    psycopg.OperationalError, psycopg.InterfaceError, psycopg_pool.PoolTimeout, MemoryError, OSError,
    EncoderOutOfMemoryError,
)  # fmt: skip


@pytest.fixture
def steps(chance: random.Random) -> Iterator[Steps]:
    steps = Steps(chance)
    with pytest.MonkeyPatch.context() as patch:
        steps.watch(patch, StepEncoder)
        yield steps


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", PICTURES)
    return tmp_path / "photos"


async def index(pool: Pool, photos: Path) -> IndexReport:
    captions = {path.name: captions_of(int(path.stem)) for path in photos.iterdir()}
    return await index_folder(photos, encoder=StepEncoder(), pool=pool, captions=captions, batch_size=8)


def rows(database_url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(ROWS).fetchall()


@pytest.mark.parametrize("share", [SHARE, pytest.param(None, marks=LONG)], ids=["some", "every"])
async def test_an_index_run_whose_nth_step_fails_leaves_no_half_picture_and_the_next_completes_it(
    share: int | None, steps: Steps, photos: Path, server: str, template: str, chance: random.Random
) -> None:
    told = Told()
    ids = expect_folder(told, photos)
    for url in _database(server, template):
        async with make_pool(url) as pool:
            steps.begin()
            assert (await index(pool, photos)).indexed == PICTURES
            uninterrupted = rows(url)
    every = [(kind, n) for kind, count in sorted(steps.counts.items()) for n in range(count)]
    assert {kind for kind, _ in every} == {"read", "decode", "encode", "sql"}
    assert len(every) > 250
    for doomed in every if share is None else chance.sample(every, share):
        for url in _database(server, template):
            async with make_pool(url) as pool:
                steps.begin(doomed)
                try:
                    report = await index(pool, photos)
                except ENDS_A_RUN as error:
                    print(f"{steps.failed} ended the run: {error!r}")  # noqa: T201
                else:
                    assert report.indexed + report.already_there + len(report.failed) == PICTURES
                steps.begin()
                require_sound(url, StepEncoder(), photos / "none", told)
                report = await index(pool, photos)
                assert report.failed == []
                assert rows(url) == uninterrupted
                assert require_sound(url, StepEncoder(), photos / "none", told) == ids


@pytest.fixture
async def service(steps: Steps, database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    settings = Settings(database_url=database_url, data_dir=tmp_path / "data", recall_sample=0.0)
    async with open_service(settings, StepEncoder()) as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service.settings, service) as client:
        yield client


async def upload(client: httpx.AsyncClient, number: int) -> httpx.Response:
    return await client.post(
        "/api/images",
        data={"collection": "inbox", "captions": captions_of(number)},
        files={"image": (f"{number}.jpg", draw(number), "image/jpeg")},
    )


async def test_an_upload_whose_nth_step_fails_says_so_and_the_next_completes_it(
    client: httpx.AsyncClient, service: Service, database_url: str, steps: Steps
) -> None:
    told = Told()
    told.expect("inbox", draw(0), captions_of(0))
    assert (await upload(client, 0)).status_code == 201  # the first makes the collection
    told.expect("inbox", draw(1), captions_of(1))
    steps.begin()
    assert (await upload(client, 1)).status_code == 201
    every = [(kind, n) for kind, count in sorted(steps.counts.items()) for n in range(count)]
    assert {kind for kind, _ in every} == {"decode", "encode", "file", "sql"}
    for number, doomed in enumerate(every, start=2):
        id_ = told.expect("inbox", draw(number), captions_of(number))
        steps.begin(doomed)
        answer = await upload(client, number)
        assert steps.failed
        assert answer.status_code in DOCUMENTED, f"{steps.failed}: {answer.text}"
        if answer.is_success:
            told.acknowledged.add(id_)
        steps.begin()
        require_sound(database_url, StepEncoder(), service.upload_dir, told)
        assert (await upload(client, number)).status_code in (200, 201), steps.failed
        told.acknowledged.add(id_)
    require_sound(database_url, StepEncoder(), service.upload_dir, told)


async def test_a_deletion_whose_nth_step_fails_leaves_no_row_without_a_file_and_can_be_repeated(
    client: httpx.AsyncClient, service: Service, database_url: str, steps: Steps
) -> None:
    told = Told()
    numbers = iter(range(10_000))

    async def fresh() -> str:
        number = next(numbers)
        told.expect("inbox", draw(number), captions_of(number))
        answer = await upload(client, number)
        assert answer.status_code == 201
        return f"/api/images/{answer.json()['id']}"

    address = await fresh()
    steps.begin()
    assert (await client.delete(address)).status_code == 204
    every = [(kind, n) for kind, count in sorted(steps.counts.items()) for n in range(count)]
    assert {kind for kind, _ in every} == {"file", "sql"}
    for doomed in every:
        steps.begin()
        address = await fresh()
        steps.begin(doomed)
        answer = await client.delete(address)
        assert answer.status_code in DOCUMENTED, f"{steps.failed}: {answer.text}"
        steps.begin()
        require_sound(database_url, StepEncoder(), service.upload_dir, told)
        assert (await client.delete(address)).status_code in (204, 404), steps.failed
        assert (await client.get(address)).status_code == 404
