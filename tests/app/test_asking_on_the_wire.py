"""/api/ask on a real socket: events come as they are known, and who leaves ends the work."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from app.indexing import index_folder
from app.service import Service, open_service
from app.settings import Settings
from tests.app.events import Events, parse
from tests.app.serving import HeldEncoder, Served, Wire, serving, until

BLOCKED = "lock table image_retrieval.images in access exclusive mode"
AT_WORK = """
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'image-retrieval' and state <> 'idle'
"""


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@pytest.fixture
async def service(settings: Settings, encoder: HeldEncoder, folder: Path) -> AsyncIterator[Service]:
    async with open_service(settings.replace(recall_sample=0.0, text_cache_size=0), encoder) as service:
        await index_folder(folder, encoder=encoder, pool=service.writing_pool)
        yield service
        encoder.free.set()


@pytest.fixture
async def served(settings: Settings, service: Service) -> AsyncIterator[Served]:
    async with serving(settings, service) as served:
        yield served


async def asked(served: Served, text: str) -> Wire:
    body = json.dumps({"text": text, "k": 8})
    wire = await served.connect()
    wire.send(
        "POST /api/ask HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n"
        "content-type: application/json\r\n"
    )
    wire.send(f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}")
    return wire


async def read(wire: Wire, until_event: str) -> Events:
    """Return the events up to this one, as soon as it is there."""
    stream = b""
    async with asyncio.timeout(10):
        while f"event: {until_event}".encode() not in stream or not stream.endswith(b"\n\r\n"):
            chunk = await wire.reader.read(65536)
            assert chunk, stream
            stream += chunk
    head, _, body = stream.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"content-encoding" not in head.lower()  # compressing would keep the first events back
    lines = body.decode().split("\r\n")
    return parse("".join(lines[1::2]))  # every other line is the length of a chunk


async def test_what_was_understood_comes_before_the_database_is_asked(
    served: Served, database_url: str
) -> None:
    with psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        wire = await asked(served, "a red picture")
        events = await read(wire, "understood")
        assert [name for name, _ in events] == ["understood"]
        assert events[0][1]["text"] == "a red picture"
    assert [name for name, _ in await rest(wire)] == ["hits", "text", "done"]


async def rest(wire: Wire) -> Events:
    async with asyncio.timeout(10):
        body = (await wire.reader.read()).decode()
    return parse("".join(body.split("\r\n")[1::2]))


async def test_who_leaves_while_the_database_works_ends_its_work(
    served: Served, service: Service, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as watch, psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        connections = service.pool.get_stats()["pool_available"]
        wire = await asked(served, "red")
        await read(wire, "understood")
        await until(lambda: watch.execute(AT_WORK).fetchone() == (1,))
        wire.leave()
        await until(lambda: watch.execute(AT_WORK).fetchone() == (0,), timeout_s=1)
        await until(lambda: service.admission.in_flight == 0, timeout_s=1)
    await until(lambda: service.pool.get_stats()["pool_available"] == connections, timeout_s=1)
    assert service.pool.get_stats().get("returns_bad", 0) == 0  # none was lost over it


async def test_who_leaves_before_its_turn_costs_no_forward_pass(
    served: Served, service: Service, encoder: HeldEncoder
) -> None:
    encoder.free.clear()
    first = await asked(served, "heard")
    await until(lambda: encoder.texts == ["heard"])
    second = await asked(served, "unheard")
    await until(lambda: service.admission.in_flight == 2)
    second.leave()
    await until(lambda: service.admission.in_flight == 1, timeout_s=1)
    encoder.free.set()
    assert "hits" in [name for name, _ in await read(first, "hits")]
    assert encoder.texts == ["heard"]
