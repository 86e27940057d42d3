"""/metrics says how the service is, and nothing of what was asked; the dashboard shows what is there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.index_recall import RecallSampler, recall
from app.service import Service
from app.settings import Settings
from db.connection import Connection, Pool
from db.searching import Hit
from tests.app.conftest import connect, picture
from tests.app.serving import until
from tests.conftest import ROOT

Client = httpx.AsyncClient
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.replace(recall_sample=1.0)


async def scrape(client: Client) -> dict[tuple[str, ...], float]:
    """Return every sample: (name, label values…) -> value."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("image_retrieval_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def ask(client: Client) -> None:
    """One of each: words, the same again, a picture, a mistake, an address that is not there."""
    for _ in range(2):
        assert (await client.get("/api/search", params={"text": "s3cret red"})).status_code == 200
    await client.post("/api/search", files={"image": ("s3cret.png", picture("red"))})
    await client.get("/api/search", params={"text": "s3cret", "k": 0})
    await client.get("/s3cret")


async def test_requests_are_counted_and_timed_by_route(client: Client) -> None:
    await ask(client)
    samples = await scrape(client)
    assert samples["requests_total", "GET", "/api/search", "200"] == 2
    assert samples["requests_total", "POST", "/api/search", "200"] == 1
    assert samples["requests_total", "GET", "/api/search", "422"] == 1
    assert samples["requests_total", "GET", "unmatched", "404"] == 1
    assert samples["request_seconds_count", "/api/search"] == 4
    assert samples["encode_seconds_count",] == samples["database_seconds_count",] == 3
    assert samples["search_seconds_sum",] >= samples["database_seconds_sum",] > 0


async def test_batches_queues_the_cache_and_the_pool_are_told(client: Client) -> None:
    await ask(client)
    samples = await scrape(client)
    assert samples["batch_size_count", "text"] == samples["batch_size_count", "image"] == 1
    assert samples["batch_seconds_sum", "text"] > 0
    assert samples["queue_depth", "text"] == samples["queue_depth", "image"] == 0
    assert (samples["text_cache_misses_total",], samples["text_cache_hits_total",]) == (1, 1)
    assert samples["text_cache_entries",] == 1
    assert samples["pool_connections", "reading", "idle"] >= 1
    assert (samples["pool_connections_limit", "reading"], samples["pool_waiting", "reading"]) == (8, 0)
    assert (samples["requests_in_flight",], samples["requests_in_flight_limit",]) == (0, 256)


async def test_pictures_are_counted_with_and_without_vectors(client: Client, service: Service) -> None:
    async with service.writing_pool.connection() as connection:
        await connection.execute(
            "delete from image_embeddings where image_id in (select id from images order by id limit 3)"
        )
    samples = await scrape(client)
    assert samples["pictures", "encoder", "with"] == 5
    assert samples["pictures", "encoder", "without"] == 3


async def test_nothing_of_what_was_asked_is_told(client: Client) -> None:
    await ask(client)
    assert "s3cret" not in (await client.get("/metrics")).text


async def test_the_recall_of_real_questions_is_checked_in_the_background(
    client: Client, service: Service
) -> None:
    await client.get("/api/search", params={"text": "red", "k": 3, "offset": 2})
    for _ in range(200):
        samples = await scrape(client)
        if samples["index_recall_at_10_count",]:
            break
        await asyncio.sleep(0.01)
    assert samples["index_recall_at_10_count",] == 1
    assert samples["index_recall_at_10_sum",] == 1.0


async def test_a_database_that_does_not_answer_leaves_the_rest_of_the_metrics(
    settings: Settings, service: Service
) -> None:
    async with connect(settings, service) as client:
        await service.pool.close()
        assert (await scrape(client))["requests_in_flight_limit",] == 256


async def test_every_metric_of_the_dashboard_is_exported(client: Client) -> None:
    await ask(client)
    names = {name for name, *_ in await scrape(client)}
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in panels(dashboard) for target in panel.get("targets", [])]
    assert len(queries) > 15
    shown = {name for query in queries for name in re.findall(r"image_retrieval_(\w+)", query)}
    assert shown - names == set()
    ours = {name for name in names if not name.startswith("process_") and not name.endswith("_created")}
    assert {family(name) for name in ours} == {family(name) for name in shown}


def family(sample: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", sample)


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", []))]


def hit(score: float) -> Any:
    return SimpleNamespace(score=score)


def test_recall_is_the_share_of_the_exact_hits_that_were_found() -> None:
    exact = [hit(score) for score in (0.9, 0.8, 0.7, 0.6)]
    assert recall(exact, exact) == 1
    assert recall([hit(0.9), hit(0.7), hit(0.5), hit(0.4)], exact) == 0.5
    assert recall([], exact) == 0
    assert recall([hit(0.9), hit(0.8), hit(0.7), hit(0.6)], exact) == 1  # others, as near


class Asked:
    """A question that counts how often it is put, and may be held or fail."""

    def __init__(self) -> None:
        self.times: list[bool] = []
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, connection: Connection, /, *, k: int, exact: bool) -> list[Hit]:
        self.times.append(exact)
        await self.free.wait()
        return [hit(0.9), hit(0.8 if exact else 0.1)]


@pytest.fixture
async def sampler(pool: Pool) -> AsyncIterator[tuple[RecallSampler, list[float]]]:
    told: list[float] = []
    sampler = RecallSampler(pool, share=1.0, on_recall=told.append)
    yield sampler, told
    await sampler.close()


async def test_one_question_is_checked_at_a_time(sampler: tuple[RecallSampler, list[float]]) -> None:
    checks, told = sampler
    asked = Asked()
    asked.free.clear()
    for _ in range(5):
        checks.sample(asked)
    await until(lambda: asked.times == [False])
    asked.free.set()
    await until(lambda: told == [0.5])
    assert asked.times == [False, True]


async def test_nothing_is_checked_while_somebody_waits_for_a_connection(
    pool: Pool, sampler: tuple[RecallSampler, list[float]]
) -> None:
    checks, _ = sampler
    asked = Asked()
    async with pool.connection(), pool.connection(), pool.connection(), pool.connection():
        waiting = asyncio.create_task(pool.getconn(timeout=5))
        await until(lambda: pool.get_stats()["requests_waiting"] == 1)
        checks.sample(asked)
        await asyncio.sleep(0.05)
    await pool.putconn(await waiting)
    assert asked.times == []


async def test_no_question_is_checked_where_the_share_is_none(pool: Pool) -> None:
    asked = Asked()
    sampler = RecallSampler(pool, share=0.0, on_recall=lambda _: None)
    for _ in range(100):
        sampler.sample(asked)
    await asyncio.sleep(0.02)
    assert asked.times == []
