"""Breaking the database in the midst of searches, uploads and an index run, mending it, and what holds."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from app.service import Service, open_service
from app.settings import Settings
from tests.app.pictures import CountingEncoder
from tests.app.serving import serving
from tests.encoders import FakeEncoder
from tests.faults.invariants import Told, read_answers, require_in_time, require_sound
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy
from tests.faults.traffic import WORDS, Traffic, expect_folder, going_on, index

DEADLINE_S = 3.0
READY_WITHIN_S = 10.0


@dataclass
class Place:
    """Where something breaks."""

    postgres: Postgres
    proxy: Proxy
    database_url: str
    """Past the proxy."""
    chance: random.Random

    async def for_a_while(self, longest_s: float = 1.0) -> None:
        await asyncio.sleep(self.chance.uniform(0.3, longest_s))


Fault = Callable[[Place], AbstractAsyncContextManager[None]]


async def break_and_mend(place: Place, fault: Fault, folders: tuple[Path, Path], data_dir: Path) -> Told:
    """Index, then break and mend the database in the midst of all; assert what holds, return what was."""
    encoder, told = CountingEncoder(seconds_a_batch=0.1), Told()
    before, meanwhile = folders
    to_come = expect_folder(told, before) | expect_folder(told, meanwhile)
    settings = Settings(
        database_url=place.proxy.url(place.database_url), data_dir=data_dir, deadline_s=DEADLINE_S,
        pool_timeout_s=1.0, statement_timeout_s=2 * DEADLINE_S, text_cache_size=0, recall_sample=0.0,
    )  # fmt: skip
    assert settings.database_url is not None
    await index(settings.database_url, before, encoder)
    async with (
        open_service(settings, encoder) as service,
        serving(settings, service) as served,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=60) as client,
    ):
        answers = await read_answers(client, WORDS, before.name)
        traffic = Traffic(client, told, settings.database_url, encoder, meanwhile)
        async with going_on(traffic):
            await traffic.works()
            async with fault(place):
                await place.for_a_while()
            await require_ready(client)
            await traffic.works()
            await traffic.finish()
        assert await read_answers(client, WORDS, before.name) == answers
        await require_idle(service, place.database_url)
    print(told.summary(), f"index runs: {traffic.index_runs}, {traffic.broken_runs} of them broken")  # noqa: T201
    require_in_time(told.answers, DEADLINE_S)
    assert to_come <= require_sound(place.database_url, FakeEncoder(), settings.data_dir / "uploads", told)
    return told


async def require_ready(client: httpx.AsyncClient) -> None:
    """Assert that the service says it is ready soon after the repair."""
    started = time.monotonic()
    while (await client.get("/readyz")).status_code != 200:
        assert time.monotonic() - started < READY_WITHIN_S
        await asyncio.sleep(0.1)


async def require_idle(service: Service, database_url: str) -> None:
    """Assert that no connection is lost to the pools, and none holds a transaction or a turn."""
    async with asyncio.timeout(30):
        for pool in (service.pool, service.writing_pool):
            while (stats := pool.get_stats())["pool_available"] != stats["pool_size"]:
                await asyncio.sleep(0.05)
    with psycopg.connect(database_url) as connection:
        held = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'image-retrieval' and state <> 'idle'"
        ).fetchone()
        turns = connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
    assert (held, turns) == ((0,), (0,))
