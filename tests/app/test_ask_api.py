"""Questions answered as a stream of events, against a real PostgreSQL."""

from typing import Any

import httpx
import psycopg
import pytest

from app.settings import Settings
from tests.app.conftest import COLOURS
from tests.app.events import Events, ask
from tests.app.test_search_api import is_problem

Client = httpx.AsyncClient


def named(events: Events, name: str) -> list[Any]:
    return [data for each, data in events if each == name]


def hits_of(events: Events) -> list[dict[str, Any]]:
    return [hit for data in named(events, "hits") for hit in data["hits"]]


async def test_an_answer_comes_as_understood_hits_text_and_done(client: Client) -> None:
    events = await ask(client, {"terms": [{"text": "a red picture"}], "k": 3})
    assert [name for name, _ in events] == ["understood", "hits", "text", "done"]
    found = (await client.post("/api/search", json={"text": "a red picture", "k": 3})).json()
    assert events[0][1] == found["query"]
    assert hits_of(events) == found["hits"]
    assert set(named(events, "text")[0]) == {"html", "markdown"}
    done = named(events, "done")[0]
    assert set(done) == {"timings_ms", "background", "receipt", "more"}
    assert done["timings_ms"]["total"] > 0
    assert done["more"] is True
    assert set(done["receipt"]) == {
        "encoder", "terms", "balanced", "more", "less", "k", "offset", "exact", "ef_search", "caption_weight",
        "normalise", "fold_duplicates", "reranker", "sql",
    }  # fmt: skip


async def test_hits_come_ten_at_a_time_in_order(client: Client) -> None:
    from tests.app.conftest import picture

    for number in range(17):
        posted = await client.post(
            "/api/images", files={"image": ("x.png", picture("red", size=(20 + number, 20)))}
        )
        assert posted.status_code == 201
    events = await ask(client, {"text": "red", "k": 24})
    assert [len(data["hits"]) for data in named(events, "hits")] == [10, 10, 4]
    assert [hit["rank"] for hit in hits_of(events)] == list(range(1, 25))
    assert (await ask(client, {"text": "red", "k": 26}))[-1][1]["more"] is False  # there are 25


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": " "},
        {"text": "x", "k": 0},
        {"terms": []},
        {"terms": [{}]},
        {"text": "x", "language": "fr"},
    ],
)
async def test_a_bad_question_is_a_problem_before_anything_streams(
    client: Client, body: dict[str, Any]
) -> None:
    assert is_problem(await client.post("/api/ask", json=body), 422)


async def test_what_fails_midway_is_an_error_event(client: Client, settings: Settings) -> None:
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("alter table image_retrieval.captions rename to elsewhere")

    events = await ask(client, {"text": "red"})
    assert [name for name, _ in events] == ["understood", "error"]
    assert events[-1][1]["status"] == 500
    assert set(events[-1][1]) == {"status", "title", "detail"}


async def test_the_receipts_sql_gives_the_same_rows_and_scores(client: Client, settings: Settings) -> None:
    assert settings.database_url is not None
    colours = dict(zip(COLOURS, range(9), strict=False))
    events = await ask(client, {"terms": [{"text": "red"}, {"text": "blue", "weight": -0.4}], "k": 5})
    with psycopg.connect(settings.database_url) as connection:
        rows = connection.execute(named(events, "done")[0]["receipt"]["sql"]).fetchall()
    assert len(rows) == 5 <= len(colours)
    assert [(rank, str(id_), score) for rank, id_, _, score in rows] == [
        (hit["rank"], hit["id"], hit["score"]) for hit in hits_of(events)
    ]


async def test_the_openapi_document_describes_the_question(client: Client) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    asked = document["paths"]["/api/ask"]["post"]
    body = asked["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"terms", "language", "exclude", "taken_from", "taken_to", "min_score", "sort"} <= set(body)
    term = body["terms"]["anyOf"][0]["items"]
    assert set(term["properties"]) == {"text", "image", "image_id", "embedding", "weight", "region"}
    assert "terms" not in asked["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert "$defs" not in str(document)
