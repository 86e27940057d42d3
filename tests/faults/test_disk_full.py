"""A disk that is full, for real: a small file system in memory, which only root may make."""

import os
import random
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Literal

from app.service import open_service
from app.settings import Settings
from tests.app.conftest import connect
from tests.app.pictures import draw
from tests.encoders import FakeEncoder
from tests.faults.invariants import Told, require_sound
from tests.faults.mending import Place, break_and_mend
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy
from tests.faults.traffic import captions_of


class Disk:
    """A small one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="image-retrieval-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("a file system can be mounted by root alone")
        try:
            yield Disk(Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_refuses_uploads_alone_and_takes_them_again_when_there_is_room(
    disk: Disk, database_url: str
) -> None:
    settings = Settings(database_url=database_url, data_dir=disk.folder / "data", recall_sample=0.0)
    encoder, told = FakeEncoder(), Told()

    async def upload(client: httpx.AsyncClient, number: int) -> httpx.Response:
        id_ = told.expect("inbox", draw(number), captions_of(number))
        answer = await client.post(
            "/api/images",
            data={"collection": "inbox", "captions": captions_of(number)},
            files={"image": (f"{number}.jpg", draw(number), "image/jpeg")},
        )
        if answer.is_success:
            told.acknowledged.add(id_)
        return answer

    async with open_service(settings, encoder) as service, connect(settings, service) as client:
        first = (await upload(client, 0)).json()["id"]
        disk.fill()
        for number in range(1, 6):
            answer = await upload(client, number)
            assert (answer.status_code, answer.json()["title"]) == (507, "Store failed")
            assert "No space left on device" in answer.json()["detail"]
        assert (await client.get("/api/search?text=red")).status_code == 200
        for what in ("file", "thumbnail"):
            assert (await client.get(f"/api/images/{first}/{what}")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        disk.make_room()
        for number in range(1, 6):
            assert (await upload(client, number)).status_code == 201
    assert require_sound(database_url, encoder, service.upload_dir, told) == told.acknowledged


@pytest.mark.slow
async def test_a_database_without_room_refuses_what_is_new_and_takes_it_again_when_there_is_some(
    disk: Disk, postgres: Postgres, folders: tuple[Path, Path], tmp_path: Path, chance: random.Random
) -> None:
    space = disk.folder / "space"
    space.mkdir()
    owner = (postgres.folder / "PG_VERSION").stat()
    os.chown(space, owner.st_uid, owner.st_gid)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SQL("create tablespace small location {}").format(Literal(str(space))))

    @asynccontextmanager
    async def full(place: Place) -> AsyncIterator[None]:
        disk.fill()
        yield
        await place.for_a_while(2.0)
        disk.make_room()

    try:
        with postgres.database(tablespace="small") as database_url:
            async with Proxy(postgres.socket) as proxy:
                place = Place(postgres, proxy, database_url, chance)
                told = await break_and_mend(place, full, folders, tmp_path / "data")
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("drop tablespace small")
    assert 507 in told.statuses("upload")
    assert set(told.statuses("search")) == {200}
