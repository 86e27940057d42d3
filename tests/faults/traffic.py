"""People who search and upload while a folder is indexed, all at once: what goes on when something breaks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import psycopg_pool

from app.indexing import index_folder
from db.connection import make_pool
from embedding.encoder import Encoder
from tests.app.pictures import draw
from tests.faults.invariants import Told

SEARCHERS, UPLOADERS = 3, 2
WORDS = ("red", "lime", "blue", "yellow", "black", "white", "purple", "orange")
PAUSE_S = 0.02
ENOUGH_S = 30.0


def captions_of(number: int) -> list[str]:
    """Return what is said of a drawn picture."""
    return [f"{number:05} is this", "and more"]


def expect_folder(told: Told, folder: Path) -> set[UUID]:
    """Note the pictures of a folder that tests.app.pictures.write_pictures wrote; return their ids."""
    return {
        told.expect(folder.name, path.read_bytes(), captions_of(int(path.stem))) for path in folder.iterdir()
    }


async def index(database_url: str, folder: Path, encoder: Encoder) -> None:
    """Index a drawn folder with its captions, through a pool of its own, as the command does."""
    captions = {path.name: captions_of(int(path.stem)) for path in folder.iterdir()}
    async with make_pool(database_url) as pool:
        report = await index_folder(folder, encoder=encoder, pool=pool, captions=captions, batch_size=8)
    assert report.failed == []


@dataclass
class Traffic:
    """Goes on from start to finish; what was asked and answered is in told."""

    client: httpx.AsyncClient
    told: Told
    database_url: str
    encoder: Encoder
    folder: Path
    """To be indexed, again and again until a run has come to its end."""
    index_runs: int = 0
    broken_runs: int = 0
    indexed: bool = False
    stopping: bool = False
    _next: int = 100_000
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def works(self, rounds: int = 3) -> None:
        """Wait until searches and uploads have succeeded so many times more."""
        searches, uploads = self._succeeded()
        async with asyncio.timeout(ENOUGH_S):
            while True:
                now = self._succeeded()
                if now[0] >= searches + rounds and now[1] >= uploads + rounds:
                    return
                self._look()
                await asyncio.sleep(0.05)

    async def finish(self) -> None:
        """Wait until the folder is indexed, then stop."""
        async with asyncio.timeout(ENOUGH_S):
            while not self.indexed:
                self._look()
                await asyncio.sleep(0.05)

    def _look(self) -> None:
        for task in self._tasks:
            if task.done() and task.exception():
                task.result()

    def _succeeded(self) -> tuple[int, int]:
        return self.told.statuses("search").count(200), self.told.statuses("upload").count(201)

    async def _search(self, number: int) -> None:
        while not self.stopping:
            number += 1
            word = WORDS[number % len(WORDS)]
            await self._ask("search", "GET", f"/api/search?text={word}+{number}")
            await asyncio.sleep(PAUSE_S)

    async def _upload(self) -> None:
        while not self.stopping:
            number, self._next = self._next, self._next + 1
            data, captions = draw(number), captions_of(number)
            id_ = self.told.expect("inbox", data, captions)
            status = await self._ask(
                "upload", "POST", "/api/images",
                data={"collection": "inbox", "captions": captions},
                files={"image": (f"{number}.jpg", data, "image/jpeg")},
            )  # fmt: skip
            if status in (200, 201):
                self.told.acknowledged.add(id_)
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, what: str, method: str, target: str, **options: object) -> int:
        started = time.monotonic()
        answer = await self.client.request(method, target, **options)  # type: ignore[arg-type]
        self.told.answers.append((what, answer.status_code, time.monotonic() - started))
        return answer.status_code

    async def _index(self) -> None:
        while not (self.indexed or self.stopping):
            self.index_runs += 1
            try:
                await index(self.database_url, self.folder, self.encoder)
                self.indexed = True
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg_pool.PoolTimeout):
                self.broken_runs += 1
                await asyncio.sleep(0.2)


@asynccontextmanager
async def going_on(traffic: Traffic) -> AsyncIterator[Traffic]:
    """Let it go on meanwhile; afterwards it has stopped, and whatever was asked is answered."""
    traffic._tasks = [
        *(asyncio.create_task(traffic._search(1000 * number)) for number in range(SEARCHERS)),
        *(asyncio.create_task(traffic._upload()) for _ in range(UPLOADERS)),
        asyncio.create_task(traffic._index()),
    ]
    try:
        yield traffic
    finally:
        traffic.stopping = True
        await asyncio.wait(traffic._tasks, timeout=ENOUGH_S)
        for task in traffic._tasks:
            task.cancel()
        await asyncio.gather(*traffic._tasks, return_exceptions=True)
