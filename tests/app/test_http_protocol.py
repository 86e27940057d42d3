"""What a client may take its time for, and what not: real sockets that drip, against a real uvicorn."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from app import http_protocol
from app.indexing import index_folder
from app.service import Service, open_service
from app.settings import Settings
from tests.app.serving import HeldEncoder, Served, Wire, serving, until

UPLOAD = "POST /api/search HTTP/1.1\r\nhost: [::1]\r\ncontent-type: multipart/form-data; boundary=b\r\n"


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.replace(max_upload_bytes=2_000_000)


@pytest.fixture
async def service(settings: Settings, encoder: HeldEncoder, folder: Path) -> AsyncIterator[Service]:
    noise = np.random.default_rng(0).integers(0, 256, (2500, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.bmp")  # 22 MB: more than sockets hold
    async with open_service(settings, encoder) as service:
        await index_folder(folder, encoder=encoder, pool=service.writing_pool)
        yield service


@pytest.fixture
async def served(settings: Settings, service: Service) -> AsyncIterator[Served]:
    async with serving(settings, service) as served:
        yield served


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for what has ten or thirty."""
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S", "TAKEN_WITHIN_S"):
        monkeypatch.setattr(http_protocol, name, 0.5)


async def drip(wire: Wire, data: str, every_s: float = 0.05) -> None:
    for character in data:
        wire.send(character)
        await asyncio.sleep(every_s)


async def cut_after(wire: Wire, data: str) -> tuple[float, bytes]:
    """Drip until the other side closes; return the seconds that took, and what it said."""
    started = time.perf_counter()
    dripping = asyncio.create_task(drip(wire, data))
    said = await wire.closed()
    dripping.cancel()
    return time.perf_counter() - started, said


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("before", ["", "GET /livez HTTP/1.1\r\nhost: [::1]\r\n\r\n"])
async def test_a_head_that_drips_is_cut_off(served: Served, before: str) -> None:
    wire = await served.connect()
    if before:  # also the second one of a connection
        wire.send(before)
        assert (await wire.answer()).status == 200
    took, said = await cut_after(wire, "GET /api/search?text=red HTTP/1.1\r\n" + "x-slow: yes\r\n" * 9)
    assert 0.4 < took < 1
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in said


@pytest.mark.usefixtures("hurry")
async def test_empty_lines_between_requests_keep_no_connection_open(served: Served) -> None:
    wire = await served.connect()
    wire.send("GET /livez HTTP/1.1\r\nhost: [::1]\r\n\r\n")
    await wire.answer()
    took, _ = await cut_after(wire, "\r\n" * 100)
    assert took < 1


@pytest.mark.usefixtures("hurry")
async def test_a_connection_that_asks_nothing_is_closed_without_a_word(served: Served) -> None:
    wire = await served.connect()
    started = time.perf_counter()
    assert await wire.closed() == b""
    assert time.perf_counter() - started < 1


@pytest.mark.usefixtures("hurry")
async def test_a_body_that_drips_is_cut_off_and_its_request_ends(served: Served, service: Service) -> None:
    wire = await served.connect()
    wire.send(UPLOAD + "content-length: 900000\r\n\r\n")
    took, said = await cut_after(wire, "x" * 100)
    assert 0.4 < took < 1
    assert said.startswith(b"HTTP/1.1 408 ")
    await until(lambda: service.admission.body_bytes == 0)


@pytest.mark.usefixtures("hurry")
async def test_a_body_that_nobody_reads_drips_no_longer_either(served: Served) -> None:
    wire = await served.connect()
    wire.send("POST /nowhere HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 900000\r\n\r\n")
    assert (await wire.answer()).status == 404
    took, said = await cut_after(wire, "x" * 100)
    assert took < 1
    assert said == b""  # it has its answer


async def test_a_slow_line_may_bring_a_large_body(
    served: Served, hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_BYTES_PER_S", 50_000)
    wire = await served.connect()
    wire.send(UPLOAD + "content-length: 120000\r\n\r\n")
    started = time.perf_counter()
    for _ in range(12):
        wire.send("x" * 10_000)
        await asyncio.sleep(0.1)
    assert (await wire.answer()).status == 422  # no form, but it was received
    assert time.perf_counter() - started > 1


@pytest.mark.usefixtures("hurry")
async def test_who_does_not_take_the_answer_is_cut_off(served: Served, service: Service) -> None:
    found = await served.get("/api/search?text=red&k=9")
    hits = found.json()["hits"]
    assert isinstance(hits, list)
    (noise,) = (hit["id"] for hit in hits if hit["uri"] == "noise.bmp")
    wire = await served.connect()
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire.send(f"GET /api/images/{noise}/file HTTP/1.1\r\nhost: [::1]\r\n\r\n")
    await until(lambda: service.admission.in_flight == 1)
    await until(lambda: service.admission.in_flight == 0, timeout_s=3)
    assert not served.server.server_state.connections


@pytest.mark.usefixtures("hurry")
async def test_a_download_may_take_longer_than_the_deadline(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings.replace(deadline_s=0.3), service) as served:
        hits = (await served.get("/api/search?text=red&k=9")).json()["hits"]
        assert isinstance(hits, list)
        (noise,) = (hit["id"] for hit in hits if hit["uri"] == "noise.bmp")
        wire = await served.connect()
        wire.send(f"GET /api/images/{noise}/file HTTP/1.1\r\nhost: [::1]\r\nconnection: close\r\n\r\n")
        received, started = 0, time.perf_counter()
        while chunk := await wire.reader.read(1 << 20):
            received += len(chunk)
            await asyncio.sleep(0.05)
        assert time.perf_counter() - started > 0.6
        assert received > 22_000_000


async def test_a_head_without_end_is_refused(served: Served) -> None:
    wire = await served.connect()
    wire.send("GET /livez HTTP/1.1\r\n" + "x-long: yes\r\n" * 10_000)
    await asyncio.sleep(0.1)
    wire.send("x-long: yes\r\n" * 100)
    assert (await wire.closed()).startswith(b"HTTP/1.1 431 ")


async def test_the_longest_question_fits_into_an_address(served: Served, settings: Settings) -> None:
    text = quote("đ" * settings.max_text_chars)
    assert (await served.get(f"/api/search?text={text}")).status == 200


async def test_requests_sent_before_the_answer_are_answered_in_turn(served: Served) -> None:
    wire = await served.connect()
    wire.send("GET /livez HTTP/1.1\r\nhost: [::1]\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: [::1]\r\n\r\n")
    assert [(await wire.answer()).status for _ in range(2)] == [200, 404]


async def test_an_upgrade_that_is_not_offered_is_an_ordinary_request(served: Served) -> None:
    answer = await served.get("/livez", "connection: upgrade", "upgrade: websocket")
    assert answer.status == 200


@pytest.mark.slow
async def test_two_hundred_dripping_sockets_go_in_time_and_disturb_nobody(served: Served) -> None:
    """With the real limits: 10 s for heads, 30 s for bodies."""

    async def one(head: bool) -> float:
        wire = await served.connect()
        if head:
            wire.send("GET /livez HTTP/1.1\r\n")
        else:
            wire.send(UPLOAD + "content-length: 900000\r\n\r\n")
        started = time.perf_counter()
        dripping = asyncio.create_task(drip(wire, "x" * 60, every_s=1))
        await wire.closed(60)
        dripping.cancel()
        return time.perf_counter() - started

    sockets = [asyncio.create_task(one(head=number % 2 == 0)) for number in range(200)]
    asked = []
    while not all(task.done() for task in sockets):
        started = time.perf_counter()
        assert (await served.get("/api/search?text=red")).status == 200
        asked.append(time.perf_counter() - started)
        await asyncio.sleep(0.2)
    took = [await task for task in sockets]
    assert max(took[::2]) < 11
    assert 29 < max(took[1::2]) < 32
    assert np.quantile(asked, 0.99) < 0.5
