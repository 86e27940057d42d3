"""Every request ends in time, with a status that says why: real sockets, uvicorn and PostgreSQL."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest

from app.indexing import index_folder
from app.service import Service, open_service
from app.settings import Settings
from embedding.errors import EncoderOutOfMemoryError
from tests.app.conftest import picture
from tests.app.serving import HeldEncoder, Served, serving, until

BLOCKED = "lock table image_retrieval.images in access exclusive mode"
ACTIVE = """
    select count(*) filter (where state = 'active'),
           count(*) filter (where state like 'idle in transaction%%')
    from pg_stat_activity
    where datname = current_database() and application_name = 'image-retrieval'
"""


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.replace(
        max_in_flight=3, deadline_s=1.0, recall_sample=0.0, pool_size=4, text_cache_size=0
    )


@pytest.fixture
async def service(settings: Settings, encoder: HeldEncoder, folder: Path) -> AsyncIterator[Service]:
    async with open_service(settings, encoder) as service:
        await index_folder(folder, encoder=encoder, pool=service.writing_pool)
        yield service
        encoder.free.set()


@pytest.fixture
async def served(settings: Settings, service: Service) -> AsyncIterator[Served]:
    async with serving(settings, service) as served:
        yield served


async def hold(
    served: Served, service: Service, encoder: HeldEncoder, count: int
) -> list[asyncio.Task[object]]:
    """Fill the service with questions that the encoder does not answer yet."""
    encoder.free.clear()
    tasks = [asyncio.create_task(served.get(f"/api/search?text=red+{number}")) for number in range(count)]
    await until(lambda: service.admission.in_flight == count)
    return tasks


async def test_beyond_the_bound_a_question_is_refused_at_once(
    served: Served, service: Service, encoder: HeldEncoder
) -> None:
    held = await hold(served, service, encoder, 3)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        answer = await served.get("/api/search?text=red")
        took.append(time.perf_counter() - started)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "all at once" in str(answer.json()["detail"])
    assert sorted(took)[2] < 0.1
    assert (await served.get("/livez")).status == 200
    assert (await served.get("/readyz")).status == 503
    encoder.free.set()
    assert [(await task).status for task in held] == [200] * 3
    assert (await served.get("/readyz")).status == 200
    assert (await served.get("/api/search?text=red")).status == 200


@pytest.mark.parametrize("path", ["/api/images", "/api/search", "/api/predict-image"])
async def test_a_full_service_refuses_a_picture_before_its_body_comes(
    served: Served, service: Service, encoder: HeldEncoder, path: str
) -> None:
    held = await hold(served, service, encoder, 3)
    wire = await served.connect()
    wire.send(f"POST {path} HTTP/1.1\r\nhost: [::1]\r\ncontent-type: multipart/form-data; boundary=b\r\n")
    wire.send("content-length: 900000\r\n\r\n")
    assert (await wire.answer(timeout_s=0.5)).status == 503
    encoder.free.set()
    await asyncio.gather(*held)


def form(data: bytes) -> bytes:
    head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


async def test_a_picture_whose_body_came_while_the_service_filled_is_refused_before_it_is_decoded(
    served: Served, service: Service, encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr("app.terms.decode_image", lambda *arguments, **_: decoded.append(arguments))
    body = form(picture("red"))
    wire = await served.connect()
    wire.send("POST /api/search HTTP/1.1\r\nhost: [::1]\r\ncontent-type: multipart/form-data; boundary=b\r\n")
    wire.send(f"content-length: {len(body)}\r\n\r\n")
    wire.send(body[:50])
    await asyncio.sleep(0.1)
    assert service.admission.in_flight == 0  # what drips in takes nobody's place
    held = await hold(served, service, encoder, 3)
    wire.send(body[50:])
    answer = await wire.answer()
    assert (answer.status, decoded) == (503, [])
    encoder.free.set()
    await asyncio.gather(*held)
    assert service.admission.body_bytes == 0


async def test_more_bodies_than_memory_is_for_are_refused(
    served: Served, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.admission, "max_body_bytes", 100_000)
    wires = [await served.connect() for _ in range(3)]
    for wire in wires:
        wire.send(
            "POST /api/search HTTP/1.1\r\nhost: [::1]\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        )
        wire.send("content-length: 900000\r\n\r\n" + "x" * 60_000)
    answers = [asyncio.create_task(wire.answer()) for wire in wires]
    done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert [task.result().status for task in done] == [503] * len(done) != []
    for wire in wires:
        wire.leave()
    for task in answers:
        task.cancel()
    await until(lambda: service.admission.body_bytes == 0)


async def test_a_question_ends_by_its_deadline_whatever_the_encoder_does(
    served: Served, service: Service, encoder: HeldEncoder
) -> None:
    encoder.free.clear()
    started = time.perf_counter()
    answer = await served.get("/api/search?text=red")
    assert (answer.status, answer.json()["title"]) == (504, "Deadline")
    assert 1.0 <= time.perf_counter() - started < 2.0
    await until(lambda: service.admission.in_flight == 0)
    encoder.free.set()
    assert (await served.get("/api/search?text=red")).status == 200


async def test_the_deadline_ends_the_sql_too(served: Served, service: Service, database_url: str) -> None:
    with psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        answer = await served.get("/api/search?text=red")
        assert answer.status == 504
        await idle(database_url, within_s=1)
    assert (await served.get("/api/search?text=red")).status == 200


async def test_a_stream_that_meets_its_deadline_ends_with_an_error_event(
    served: Served, database_url: str
) -> None:
    body = '{"text": "red", "language": "en"}'
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    with psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        wire = await served.connect()
        wire.send("POST /api/ask HTTP/1.1\r\nhost: localhost\r\n" + head + body)
        answer = await wire.answer()
    assert answer.status == 200
    assert b"event: understood" in answer.body
    last = answer.body[answer.body.rindex(b"event: ") :]
    assert last.startswith(b"event: error")
    assert b'"status":504' in last


def unused(service: Service) -> bool:
    stats = service.pool.get_stats()
    return stats["pool_available"] == stats["pool_size"] and stats["requests_waiting"] == 0


async def idle(database_url: str, *, within_s: float) -> None:
    """Wait until none of the service's connections works, or holds a transaction."""
    async with asyncio.timeout(within_s):
        while True:
            with psycopg.connect(database_url, autocommit=True) as connection:
                if connection.execute(ACTIVE).fetchone() == (0, 0):
                    return
            await asyncio.sleep(0.02)


async def test_a_client_who_leaves_frees_its_connection_and_its_sql_within_a_second(
    served: Served, service: Service, database_url: str
) -> None:
    with psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        wire = await served.connect()
        wire.send("GET /api/search?text=red HTTP/1.1\r\nhost: [::1]\r\n\r\n")
        await until(
            lambda: service.pool.get_stats()["pool_available"] < service.pool.get_stats()["pool_size"]
        )
        await asyncio.sleep(0.1)
        wire.leave()
        await idle(database_url, within_s=0.9)  # the deadline would have come later
        assert service.admission.in_flight == 0
    await until(lambda: unused(service), timeout_s=1)


async def test_many_who_leave_at_once_free_their_connections_and_their_sql_within_a_second(
    served: Served, service: Service, database_url: str
) -> None:
    service.admission.max_in_flight = 64
    chance = random.Random(1)

    async def come_and_go(number: int) -> None:
        wire = await served.connect()
        wire.send(f"GET /api/search?text=red+{number} HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.sleep(chance.uniform(0.005, 0.12))
        wire.leave()

    with psycopg.connect(database_url) as lock:
        lock.execute(BLOCKED)
        for start in range(0, 300, 12):  # three for each connection
            await asyncio.gather(*(come_and_go(number) for number in range(start, start + 12)))
            await idle(database_url, within_s=1)
            await until(lambda: service.admission.in_flight == 0, timeout_s=1)


async def test_a_client_who_leaves_before_its_turn_costs_no_forward_pass(
    served: Served, service: Service, encoder: HeldEncoder
) -> None:
    held = await hold(served, service, encoder, 1)
    wire = await served.connect()
    wire.send("GET /api/search?text=unheard HTTP/1.1\r\nhost: [::1]\r\n\r\n")
    await until(lambda: service.admission.in_flight == 2)
    wire.leave()
    await until(lambda: service.admission.in_flight == 1, timeout_s=0.7)  # the deadline would come later
    encoder.free.set()
    await asyncio.gather(*held)
    assert "unheard" not in encoder.texts


async def test_a_thousand_who_leave_at_any_moment_leave_nothing_behind(
    served: Served, service: Service, database_url: str, settings: Settings
) -> None:
    service.admission.max_in_flight = 64

    async def come_and_go(number: int) -> None:
        wire = await served.connect()
        wire.send(f"GET /api/search?text=red+{number} HTTP/1.1\r\nhost: [::1]\r\n\r\n")
        await asyncio.sleep(number % 40 / 1000)
        wire.leave()

    for start in range(0, 1000, 50):
        await asyncio.gather(*(come_and_go(number) for number in range(start, start + 50)))
    await until(lambda: service.admission.in_flight == 0)
    await idle(database_url, within_s=1)
    await until(lambda: unused(service), timeout_s=1)
    assert (await served.get("/api/search?text=red")).status == 200


async def test_an_upload_that_is_given_up_leaves_no_lock_and_no_row_without_its_file(
    served: Served, service: Service, database_url: str
) -> None:
    body = form(picture("teal"))
    with psycopg.connect(database_url) as lock:
        lock.execute("lock table image_retrieval.image_embeddings in share mode")
        wire = await served.connect()
        wire.send(
            "POST /api/images HTTP/1.1\r\nhost: [::1]\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        )
        wire.send(f"content-length: {len(body)}\r\n\r\n")
        wire.send(body)
        await asyncio.sleep(0.4)
        wire.leave()
        await idle(database_url, within_s=2)
        held = "select count(*) from pg_locks where locktype = 'advisory'"
        assert lock.execute(held).fetchone() == (0,)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from image_retrieval.images").fetchone() == (8,)


async def test_a_database_that_hangs_delays_no_answer_beyond_its_deadline_and_is_well_again_by_itself(
    served: Served, service: Service, database_url: str
) -> None:
    assert (await served.get("/api/search?text=red")).status == 200
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
        postmaster = psutil.Process(connection.info.backend_pid).ppid()
    pids = [postmaster, *(pid for (pid,) in rows)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        started = time.perf_counter()
        asked = [served.get(f"/api/search?text=red+{number}") for number in range(3)]
        answers = await asyncio.gather(*asked, served.get("/readyz"), served.get("/livez"))
        assert time.perf_counter() - started < 3
        assert {answer.status for answer in answers[:3]} <= {503, 504}
        assert [answer.status for answer in answers[3:]] == [503, 200]
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    started = time.perf_counter()
    while (await served.get("/readyz")).status != 200:
        assert time.perf_counter() - started < 10
        await asyncio.sleep(0.2)
    assert (await served.get("/api/search?text=red")).status == 200


async def test_an_encoder_out_of_memory_is_a_503_and_the_next_question_is_answered(
    served: Served, encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Sequence[str]) -> None:
        raise EncoderOutOfMemoryError("the device is full; try again shortly")

    with monkeypatch.context() as patch:
        patch.setattr(served.server._service.text_batches, "_encode", full)
        answer = await served.get("/api/search?text=red")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["title"] == "Encoder out of memory"
    assert (await served.get("/api/search?text=red")).status == 200


async def test_the_document_says_of_every_address_how_it_may_fail(served: Served) -> None:
    document = msgspec.json.decode((await served.get("/schema/openapi.json")).body)
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if path.startswith("/api")
    ]
    assert len(operations) > 12
    for path, operation in operations:
        problems = {int(status) for status in operation["responses"] if int(status) >= 400}
        assert {415, 421, 503, 504} <= problems
        for status in problems:
            assert "application/problem+json" in operation["responses"][str(status)]["content"], path
        assert "retry-after" in operation["responses"]["503"]["headers"]


async def test_the_document_describes_the_events(served: Served) -> None:
    document = msgspec.json.decode((await served.get("/schema/openapi.json")).body)
    ((kind, stream),) = document["paths"]["/api/ask"]["post"]["responses"]["200"]["content"].items()
    data = stream["schema"]["properties"]["data"]
    events = {name["$ref"].rpartition("/")[2] for name in data["contentSchema"]["oneOf"]}
    assert (kind, data["contentMediaType"]) == ("text/event-stream", "application/json")
    assert events == {"QueryEcho", "HitsEvent", "TextEvent", "DoneEvent", "ErrorEvent"}
    assert events <= set(document["components"]["schemas"])


async def test_the_document_knows_the_bounds_and_what_leads_where(served: Served) -> None:
    paths = msgspec.json.decode((await served.get("/schema/openapi.json")).body)["paths"]
    search = {
        parameter["name"]: parameter["schema"] for parameter in paths["/api/search"]["get"]["parameters"]
    }
    assert (search["k"]["minimum"], search["k"]["maximum"], search["alpha"]["maximum"]) == (1, 1000, 1)
    upload = paths["/api/images"]["post"]
    collection = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["collection"]
    assert collection["maxLength"] == 200
    assert "deleteImage" in upload["responses"]["201"]["links"]


async def test_options_names_every_method_of_an_address(served: Served) -> None:
    wire = await served.connect()
    wire.send("OPTIONS /api/search HTTP/1.1\r\nhost: [::1]\r\nconnection: close\r\n\r\n")
    assert (await wire.answer()).headers["allow"] == "GET, OPTIONS, POST"


async def test_a_sane_request_id_is_kept_and_another_replaced(served: Served) -> None:
    assert (await served.get("/livez", "x-request-id: job-7/a")).headers["x-request-id"] == "job-7/a"
    for odd in ("", "two words", "x" * 200, '"}'):
        made = (await served.get("/livez", f"x-request-id: {odd}")).headers["x-request-id"]
        assert made != odd
        assert len(made) == 32


async def test_a_problem_says_which_request_it_was(served: Served) -> None:
    answer = await served.get("/api/search", "x-request-id: mine")
    assert (answer.status, answer.json()["request_id"]) == (422, "mine")


async def test_an_error_nobody_foresaw_is_a_problem_and_logged_with_its_request(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("app.search.check", fail)
    answer = await served.get("/api/search?text=red")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "surprise" not in answer.body.decode()
    assert "ZeroDivisionError: surprise" in caplog.text
