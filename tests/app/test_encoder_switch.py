"""A running service changes its encoder with the gallery, and nobody who asks notices but by the answers."""

import asyncio
from collections.abc import Sequence

import httpx
import numpy as np
import pytest

import app.service
from app.search import Question, search
from app.service import Service, open_service
from app.settings import Settings
from app.terms import Term
from db.encoders import activate_encoder, announce_encoder
from db.gallery import EncoderRow
from embedding.errors import EncoderUnavailableError
from tests.app.conftest import picture
from tests.app.test_encoders import add, fill
from tests.encoders import FakeEncoder


class Turned(FakeEncoder):
    """As many dimensions, other directions: its vectors fit in where they do not belong."""

    def __init__(self) -> None:
        super().__init__("fake/turned")
        self._directions = np.random.default_rng(1).standard_normal((4 * 4 * 3 + 1, self.dimension))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checkpoints that were loaded, in their order; those that are known are there."""
    loads: list[str] = []
    known = {"fake/turned": Turned, "fake/encoder": FakeEncoder}

    def load_encoder(checkpoint: str, **_: object) -> FakeEncoder:
        if checkpoint not in known:
            raise EncoderUnavailableError(f"{checkpoint} is not there")
        loads.append(checkpoint)
        return known[checkpoint]()

    monkeypatch.setattr(app.service, "load_encoder", load_encoder)
    return loads


async def successor(service: Service) -> EncoderRow:
    row = await add(service, Turned())
    await fill(service, row, Turned())
    return row


async def activate(service: Service, encoder_id: int) -> None:
    async with service.writing_pool.connection() as connection:
        await activate_encoder(connection, encoder_id)


async def test_no_question_fails_or_meets_another_encoders_vectors_while_the_gallery_changes(
    service: Service, client: httpx.AsyncClient, loaded: Sequence[str]
) -> None:
    row, first = await successor(service), await service.encoder_id()
    truth: dict[str, float] = {}
    answered: list[tuple[str, float]] = []
    asking = True

    async def keep_asking() -> None:
        while asking:
            response = await client.get("/api/search", params={"text": "red", "k": 1})
            assert response.status_code == 200, response.text
            body = response.json()
            assert body["hits"][0]["uri"] == "red.png"
            answered.append((body["query"]["encoder"]["fingerprint"], body["hits"][0]["score"]))

    askers = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for next_ in (row.id, first, row.id, first):
        await activate(service, next_)
        await asyncio.sleep(0.3)
    asking = False
    await asyncio.gather(*askers)
    for fingerprint, score in answered:
        truth.setdefault(fingerprint, score)
        assert score == pytest.approx(truth[fingerprint], abs=1e-3)
    assert len(truth) == 2
    assert all(score > 0.5 for score in truth.values())  # by another's vectors it would be about nought


async def test_an_announced_encoder_is_loaded_before_the_switch_and_then_answers_at_once(
    service: Service, loaded: list[str]
) -> None:
    row = await successor(service)
    async with service.writing_pool.connection() as connection:
        await announce_encoder(connection, row.id)
    assert (await service.of_active_encoder()).encoder is service.encoder
    assert loaded == ["fake/turned"]
    await activate(service, row.id)
    answer = await search(service, Question((Term(text="blue"),)))
    assert answer.hits[0].uri == "blue.png"
    assert answer.service.encoder.fingerprint == row.fingerprint
    assert service.latest() is answer.service
    assert loaded == ["fake/turned"]


async def test_uploads_and_readiness_follow_the_gallery(
    service: Service, client: httpx.AsyncClient, loaded: list[str]
) -> None:
    row = await successor(service)
    await activate(service, row.id)
    assert (await client.get("/readyz")).status_code == 200
    sent = await client.post(
        "/api/images", files={"image": ("new.png", picture("pink"))}, data={"collection": "uploads"}
    )
    assert sent.status_code == 201, sent.text
    found = await client.get("/api/search", params={"text": "pink", "k": 1})
    assert found.json()["hits"][0]["id"] == sent.json()["id"]
    assert found.json()["query"]["encoder"]["fingerprint"] == row.fingerprint


async def test_a_stream_follows_the_gallery(
    service: Service, client: httpx.AsyncClient, loaded: list[str]
) -> None:
    row = await successor(service)
    await activate(service, row.id)
    told = (await client.post("/api/ask", json={"text": "blue", "k": 1})).text
    assert "event: error" not in told
    assert row.fingerprint in told.partition("event: done")[2]


async def test_an_encoder_that_cannot_be_loaded_is_said_and_going_back_mends_it(
    service: Service, client: httpx.AsyncClient, loaded: list[str]
) -> None:
    first = await service.encoder_id()
    row = await add(service, FakeEncoder("fake/gone"))
    await fill(service, row, FakeEncoder("fake/gone"))
    await activate(service, row.id)
    refused = await client.get("/api/search", params={"text": "red"})
    assert refused.status_code == 503
    assert "fake/gone is not there" in refused.json()["detail"]
    assert (await client.get("/readyz")).status_code == 503
    await activate(service, first)
    assert (await client.get("/api/search", params={"text": "red"})).status_code == 200


async def test_an_encoder_that_is_no_longer_needed_is_let_go(
    settings: Settings, service: Service, loaded: list[str]
) -> None:
    row = await successor(service)
    async with open_service(settings.replace(deadline_s=0.01), FakeEncoder()) as watched:
        await activate(service, row.id)
        old = watched.latest()
        assert (await watched.of_active_encoder()) is not old
        await asyncio.sleep(0.05)
        await watched.of_active_encoder()
        with pytest.raises(Exception, match="not running"):
            await old.text_batches.encode("red")
