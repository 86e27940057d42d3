"""Whatever befalls the database while people search, upload and index, nothing is lost, and all mends itself.

FAULT_SEED=… replays a run: what is broken when, and for how long.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from tests.faults import LONG
from tests.faults.mending import DEADLINE_S, Fault, Place, break_and_mend
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy


@asynccontextmanager
async def killed(place: Place) -> AsyncIterator[None]:
    await asyncio.to_thread(place.postgres.kill)
    yield
    await place.for_a_while()
    await asyncio.to_thread(place.postgres.start)


@asynccontextmanager
async def one_process_killed(place: Place) -> AsyncIterator[None]:
    await asyncio.to_thread(place.postgres.kill_one, place.chance)
    yield
    await asyncio.to_thread(place.postgres.start)


@asynccontextmanager
async def stopped_at_once(place: Place) -> AsyncIterator[None]:
    await asyncio.to_thread(place.postgres.stop_at_once)
    yield
    await place.for_a_while()
    await asyncio.to_thread(place.postgres.start)


@asynccontextmanager
async def gone_for_long(place: Place) -> AsyncIterator[None]:
    """Longer than a client that doubles its pauses takes to lose patience."""
    await asyncio.to_thread(place.postgres.kill)
    yield
    await asyncio.sleep(33)
    await asyncio.to_thread(place.postgres.start)


@asynccontextmanager
async def killed_twenty_times(place: Place) -> AsyncIterator[None]:
    for kill in range(20):
        await asyncio.to_thread(place.postgres.kill)
        if kill == 19:
            yield
        await place.for_a_while()
        await asyncio.to_thread(place.postgres.start)
        await place.for_a_while(2.0)


@asynccontextmanager
async def paused(place: Place) -> AsyncIterator[None]:
    with place.postgres.paused():
        yield
        await asyncio.sleep(DEADLINE_S + place.chance.uniform(0.5, 1.5))


@asynccontextmanager
async def locked(place: Place) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(place.database_url) as connection:
        await connection.execute("lock table image_retrieval.images in access exclusive mode")
        yield
        await asyncio.sleep(DEADLINE_S + place.chance.uniform(0.5, 1.5))


@asynccontextmanager
async def slow(place: Place) -> AsyncIterator[None]:
    place.proxy.delay_s = place.chance.uniform(0.2, 1.0)
    yield
    await asyncio.sleep(DEADLINE_S)
    place.proxy.delay_s = 0.0


@asynccontextmanager
async def silent(place: Place) -> AsyncIterator[None]:
    place.proxy.flowing.clear()
    yield
    await asyncio.sleep(DEADLINE_S + place.chance.uniform(0.5, 1.5))
    place.proxy.flowing.set()


@asynccontextmanager
async def silent_then_reset(place: Place) -> AsyncIterator[None]:
    place.proxy.flowing.clear()
    yield
    await asyncio.sleep(DEADLINE_S + place.chance.uniform(0.5, 1.5))
    place.proxy.reset()
    place.proxy.flowing.set()


@asynccontextmanager
async def resetting(place: Place) -> AsyncIterator[None]:
    place.proxy.refuses = True
    place.proxy.reset()
    yield
    await place.for_a_while()
    place.proxy.refuses = False


@asynccontextmanager
async def resetting_in_the_midst(place: Place) -> AsyncIterator[None]:
    place.proxy.reset_after_bytes = place.chance.randrange(1, 200)
    yield
    await place.for_a_while()
    place.proxy.reset_after_bytes = None


FAULTS: list[Fault] = [killed, one_process_killed, resetting_in_the_midst]
SLOW_FAULTS: list[Fault] = [locked, silent_then_reset, resetting]
LONG_FAULTS: list[Fault] = [stopped_at_once, paused, slow, silent, gone_for_long, killed_twenty_times]


@pytest.mark.parametrize(
    "fault",
    [
        *FAULTS,
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in SLOW_FAULTS),
        *(pytest.param(fault, marks=LONG) for fault in LONG_FAULTS),
    ],
    ids=lambda fault: fault.__name__.replace("_", " "),
)
async def test_a_database_that_fails_loses_nothing_and_all_works_again_without_a_restart(
    fault: Fault, postgres: Postgres, folders: tuple[Path, Path], tmp_path: Path, chance: random.Random
) -> None:
    with postgres.database() as database_url:
        async with Proxy(postgres.socket) as proxy:
            place = Place(postgres, proxy, database_url, chance)
            await break_and_mend(place, fault, folders, tmp_path / "data")
