"""`image-retrieval serve` as a process: how it stops, and what it writes."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from app.indexing import index_folder
from db.connection import make_pool
from embedding.encoder import load_encoder
from tests.app.processes import Process, start_service
from tests.encoders import tiny_clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "clip")


@pytest.fixture
def start(
    checkpoint: Path, database_url: str, folder: Path, tmp_path: Path
) -> Iterator[Callable[..., Process]]:
    """Start the service on the indexed folder with these settings; all are gone at the end."""

    async def index() -> None:
        async with make_pool(database_url) as pool:
            await index_folder(folder, encoder=load_encoder(str(checkpoint)), pool=pool)

    asyncio.run(index())
    started: list[Process] = []

    def start(*arguments: str, **settings: object) -> Process:
        given = {"model": checkpoint, **settings}
        process = start_service(*arguments, database_url=database_url, data_dir=tmp_path / "data", **given)
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()


@contextmanager
def busy(process: Process, database_url: str, answers: list[int]) -> Iterator[None]:
    """Keep a question in flight: its table is locked."""
    with psycopg.connect(database_url) as lock:
        lock.execute("lock table image_retrieval.images in access exclusive mode")
        asker = threading.Thread(target=lambda: answers.append(process.get("/api/search?text=red")[0]))
        asker.start()
        waiting = "select count(*) from pg_locks where not granted"
        while lock.execute(waiting).fetchone() == (0,):
            time.sleep(0.02)
        yield
    asker.join(20)


def test_told_to_stop_it_leaves_the_rotation_first_then_ends_what_is_under_way(
    start: Callable[..., Process], database_url: str
) -> None:
    process = start(drain_s=1.5)
    assert process.get("/readyz")[0] == 200
    answers: list[int] = []
    with busy(process, database_url, answers):
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        assert process.get("/readyz")[0] == 503
        assert process.get("/livez")[0] == 200
        time.sleep(1.6)
        with pytest.raises(ConnectionRefusedError):
            process.get("/livez")
        assert process.popen.poll() is None
        assert answers == []
    assert process.popen.wait(10) == 0
    assert answers == [200]


def test_what_does_not_end_in_time_is_answered_503_and_the_process_still_ends_well(
    start: Callable[..., Process], database_url: str
) -> None:
    process = start(drain_s=0, finish_s=1)
    answers: list[int] = []
    with busy(process, database_url, answers):
        started = time.perf_counter()
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(15) == 0
        assert time.perf_counter() - started < 5
    assert answers == [503]
    assert "Traceback" not in "".join(process.lines)


def test_log_lines_are_json_and_hold_no_question(start: Callable[..., Process]) -> None:
    process = start(log_format="json", drain_s=30)
    process.get("/api/search?text=s3cret+words", {"x-request-id": "mine"})
    process.get("/api/search?text=s3cret&alpha=7")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(10) == 0  # whoever waits at a keyboard waits for no balancer
    assert "s3cret" not in "".join(process.lines)
    lines = [json.loads(line) for line in process.lines]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (line,) = (line for line in lines if line.get("request_id") == "mine")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/search", 200)
    assert line["ms"] >= line["encode_ms"] + line["database_ms"] > 0
    assert sorted(line["status"] for line in lines if "status" in line) == [200, 422]


def test_log_lines_hold_the_question_where_that_is_asked_for(start: Callable[..., Process]) -> None:
    process = start(log_questions="true")
    process.get("/api/search?text=s3cret+words")
    process.popen.send_signal(signal.SIGINT)
    process.popen.wait(10)
    (line,) = (line for line in process.lines if "route=/api/search" in line)
    assert "question=s3cret words" in line


def pids(process: Process) -> set[int]:
    """Return the workers' process ids."""
    return {child.pid for child in psutil.Process(process.popen.pid).children()}


def total(process: Process, sample: str, label: str = "") -> float:
    """Return a sample of /metrics, those with this label added up."""
    lines = process.get("/metrics")[1].decode().splitlines()
    wanted = [line for line in lines if re.match(rf"image_retrieval_{sample}\b", line) and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def until(condition: Callable[[], bool], within_s: float) -> None:
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_workers_share_the_door_are_replaced_when_they_die_and_stop_together(
    start: Callable[..., Process],
) -> None:
    process = start("--workers", "2", drain_s=0)
    first = pids(process)
    assert len(first) == 2
    for _ in range(20):
        assert process.get("/api/search?text=red")[0] == 200
    # whoever answers tells of both
    assert [total(process, "requests_total", "/api/search") for _ in range(5)] == [20] * 5
    assert total(process, "requests_in_flight_limit") == 512

    os.kill(min(first), signal.SIGKILL)
    until(lambda: len(pids(process) - {min(first)}) == 2, within_s=30)
    for _ in range(20):
        assert process.get("/api/search?text=red")[0] == 200
    assert "another takes its place" in "".join(process.lines)

    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0
    assert not any(psutil.pid_exists(pid) for pid in first)


def test_workers_do_not_outlive_who_started_them(start: Callable[..., Process]) -> None:
    process = start("--workers", "2", drain_s=0)
    workers = pids(process)
    process.popen.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid in workers), within_s=20)
