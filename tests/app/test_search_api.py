"""Questions over HTTP, against a real PostgreSQL."""

import asyncio
import base64
from typing import Any

import httpx
import pytest

from app.service import Service
from tests.app.conftest import COLOURS, picture
from tests.app.serving import until

Client = httpx.AsyncClient


async def test_words_find_ranked_rows_with_captions_and_addresses(client: Client) -> None:
    answer = (await client.get("/api/search", params={"text": "a red picture", "k": 3})).json()
    hits = answer["hits"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    colour = hits[0]["uri"].removesuffix(".png")
    assert hits[0]["captions"] == [f"a {colour} picture", f"all {colour}"]
    assert (hits[0]["width"], hits[0]["height"], hits[0]["format"]) == (40, 30, "png")
    for address in (hits[0]["image_url"], hits[0]["thumbnail_url"]):
        assert (await client.get(address)).status_code == 200
    assert answer["query"]["text_weight"] == 1
    assert answer["query"]["image_weight"] == 0
    assert answer["query"]["encoder"]["fingerprint"]
    assert answer["timings_ms"]["total"] >= answer["timings_ms"]["database"] > 0


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_picture_finds_itself_first(client: Client, colour: str) -> None:
    response = await client.post("/api/search", files={"image": ("x.png", picture(colour), "image/png")})
    assert response.status_code == 200, response.text
    hit = response.json()["hits"][0]
    assert hit["uri"] == f"{colour}.png"
    assert hit["score"] == pytest.approx(1, abs=2e-3)
    assert hit["text_score"] is None


async def test_both_parts_weigh_as_alpha_says_and_have_scores_of_their_own(client: Client) -> None:
    files = {"image": ("x.png", picture("blue"), "image/png")}
    response = await client.post(
        "/api/search", data={"text": "all red", "alpha": "0.25", "k": "8"}, files=files
    )
    answer = response.json()
    assert (answer["query"]["text_weight"], answer["query"]["image_weight"]) == (0.25, 0.75)
    combined = [0.25 * hit["text_score"] + 0.75 * hit["image_score"] for hit in answer["hits"]]
    assert combined == sorted(combined, reverse=True)  # the order of the weighted sum of the parts


async def test_alpha_at_its_ends_is_one_part_alone(client: Client) -> None:
    for alpha, alone in (("0", {}), ("1", {"text": "all red"})):
        files = {"image": ("x.png", picture("blue"), "image/png")}
        both = await client.post(
            "/api/search", data={"text": "all red", "alpha": alpha, "k": "8"}, files=files
        )
        one = await client.post("/api/search", data={"k": "8", **alone}, files=None if alone else files)
        assert [hit["id"] for hit in both.json()["hits"]] == [hit["id"] for hit in one.json()["hits"]]


async def test_json_form_and_address_give_the_same_answer(client: Client) -> None:
    by_address = await client.get("/api/search", params={"text": "all red", "k": 4})
    by_json = await client.post("/api/search", json={"text": "all red", "k": 4})
    by_form = await client.post("/api/search", data={"text": "all red", "k": "4"})
    answers = [response.json()["hits"] for response in (by_address, by_json, by_form)]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_json_takes_a_picture_as_base64_or_data_uri(client: Client, prefix: str) -> None:
    encoded = prefix + base64.b64encode(picture("yellow")).decode()
    hits = (await client.post("/api/search", json={"image": encoded, "k": 1})).json()["hits"]
    assert hits[0]["uri"] == "yellow.png"


async def test_a_picture_of_the_gallery_asks_by_its_id(client: Client) -> None:
    red = (await client.post("/api/search", files={"image": ("x.png", picture("red"))})).json()["hits"][0]
    again = (await client.get("/api/search", params={"image_id": red["id"], "k": 1})).json()
    assert again["hits"][0]["id"] == red["id"]
    similar = (await client.get(f"/api/images/{red['id']}/similar", params={"k": 7})).json()["hits"]
    assert len(similar) == 7
    assert red["id"] not in [hit["id"] for hit in similar]


async def test_pages_neither_repeat_nor_drop(client: Client) -> None:
    whole = (await client.get("/api/search", params={"text": "all red", "k": 8})).json()["hits"]
    pages: list[dict[str, Any]] = []
    for offset in range(0, 8, 3):
        page = await client.get("/api/search", params={"text": "all red", "k": 3, "offset": offset})
        pages += page.json()["hits"]
    assert pages == whole


async def test_a_collection_and_attributes_filter(client: Client) -> None:
    form = {"captions": ["one", "two"], "attributes": '{"year": 2019}', "collection": "shop"}
    posted = await client.post("/api/images", data=form, files={"image": ("n.png", picture("navy"))})
    assert posted.status_code == 201, posted.text
    for filters in ({"collection": "shop"}, {"attributes": '{"year": 2019}'}):
        hits = (await client.get("/api/search", params={"text": "x", "k": 9, **filters})).json()["hits"]
        assert [hit["id"] for hit in hits] == [posted.json()["id"]]
    nothing = await client.get("/api/search", params={"text": "x", "collection": "none"})
    assert (nothing.status_code, nothing.json()["hits"]) == (200, [])


async def test_exact_search_agrees_with_the_index(client: Client) -> None:
    approximate = (await client.get("/api/search", params={"text": "all red", "k": 8})).json()
    exact = (await client.get("/api/search", params={"text": "all red", "k": 8, "exact": True})).json()
    assert exact["query"]["exact"] is True
    assert [hit["id"] for hit in exact["hits"]] == [hit["id"] for hit in approximate["hits"]]


async def test_a_text_beyond_the_context_is_answered_as_a_whole(client: Client) -> None:
    long = (await client.get("/api/search", params={"text": "red " * 400 + "blue", "k": 2})).json()
    assert long["query"]["truncated"] is False
    assert long["query"]["terms"][0]["sentences"] > 5
    assert long["hits"][0]["uri"] == "red.png"


async def test_the_first_front_end_gets_its_five_pictures(client: Client) -> None:
    response = await client.post(
        "/api/predict-image",
        data={"query": "all red", "alpha": "0.6"},
        files={"file": ("x.jpg", picture("red", form="JPEG"), "image/jpeg")},
    )
    assert response.status_code == 200, response.text
    top = response.json()["top5"]
    assert set(response.json()) == {"top5"}
    assert len(top) == 5
    assert all(set(hit) == {"image", "score"} for hit in top)
    head, _, payload = top[0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(payload).startswith(b"\xff\xd8\xff")
    assert [hit["score"] for hit in top] == sorted((hit["score"] for hit in top), reverse=True)


async def test_the_first_front_end_may_send_words_alone_or_a_picture_alone(client: Client) -> None:
    words = await client.post("/api/predict-image", data={"query": "all red"})
    file = await client.post(
        "/api/predict-image", data={"query": ""}, files={"file": ("x.png", picture("red"))}
    )
    assert (len(words.json()["top5"]), len(file.json()["top5"])) == (5, 5)


def is_problem(response: httpx.Response, status: int) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["status"] == status
    return bool(response.json()["title"] and response.json()["detail"])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "nothing is asked"),
        ({"text": "  "}, "text is empty"),
        ({"text": "x", "k": 0}, "k is 0"),
        ({"text": "x", "k": 1001}, "1000"),
        ({"text": "x", "k": "many"}, "k"),
        ({"text": "x", "alpha": 1.5}, "alpha"),
        ({"text": "x", "alpha": "nan"}, "alpha"),
        ({"text": "x", "offset": -1}, "offset"),
        ({"text": "x", "attributes": "[1]"}, "attributes"),
        ({"text": "x", "attributes": "{"}, "attributes"),
        ({"text": "x\x00y"}, "NUL"),
        ({"text": "x", "collection": "\x00"}, "NUL"),
        ({"text": "x", "attributes": '{"a": "\\u0000"}'}, ""),
        ({"text": "x" * 9000}, "8000"),
        ({"image_id": "no-uuid"}, "image_id"),
    ],
)
async def test_a_wrong_parameter_is_422_and_named(client: Client, params: dict[str, Any], said: str) -> None:
    response = await client.get("/api/search", params=params)
    assert is_problem(response, 422)
    assert said in response.text


async def test_an_unknown_picture_is_404(client: Client) -> None:
    missing = "01234567-89ab-8def-8123-456789abcdef"
    image = f"/api/images/{missing}"
    asked = f"/api/search?image_id={missing}"
    for address in (image, f"{image}/file", f"{image}/thumbnail", f"{image}/similar", asked):
        response = await client.get(address)
        assert is_problem(response, 404), address
        assert missing in response.json()["detail"]


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 422), (b"this is text", 422), (picture("red", (400, 300))[:90], 422), (b"<svg xmlns='x'/>", 422)],
)
async def test_a_broken_picture_is_422_and_named(client: Client, data: bytes, status: int) -> None:
    response = await client.post("/api/search", files={"image": ("holiday.jpg", data, "image/jpeg")})
    assert is_problem(response, status)
    assert "holiday.jpg" in response.json()["detail"]


async def test_a_body_beyond_the_limit_is_413(client: Client) -> None:
    response = await client.post("/api/search", files={"image": ("big.png", b"x" * 1_100_000)})
    assert is_problem(response, 413)


async def test_a_body_of_another_type_is_415(client: Client) -> None:
    response = await client.post("/api/search", content=b"<x/>", headers={"content-type": "application/xml"})
    assert is_problem(response, 415)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"text": 3}', b'{"txet": "x"}', b'{"text": "x", "k": 1.5}', b'{"text": "\\ud800"}'],
)
async def test_wrong_json_is_422_and_says_where(client: Client, body: bytes) -> None:
    response = await client.post("/api/search", content=body, headers={"content-type": "application/json"})
    assert is_problem(response, 422)


async def test_addresses_are_never_fetched(client: Client) -> None:
    for address in ("http://127.0.0.1:1/x.png", "file:///etc/passwd"):
        response = await client.post("/api/search", json={"image": address})
        assert is_problem(response, 422)
        assert "fetches nothing" in response.json()["detail"]


async def test_two_pictures_in_one_question_are_refused(client: Client) -> None:
    response = await client.post(
        "/api/search",
        data={"image_id": "01234567-89ab-8def-8123-456789abcdef"},
        files={"image": ("x.png", picture("red"))},
    )
    assert is_problem(response, 422)


async def test_unknown_form_fields_are_named(client: Client) -> None:
    response = await client.post("/api/search", data={"text": "x", "kk": "3"})
    assert is_problem(response, 422)
    assert "kk" in response.json()["detail"]


async def test_questions_without_an_answer_give_their_connections_back(
    client: Client, service: Service
) -> None:
    params = {"text": "red", "collection": "nowhere"}
    answers = await asyncio.gather(*(client.get("/api/search", params=params) for _ in range(100)))
    assert {(answer.status_code, len(answer.json()["hits"])) for answer in answers} == {(200, 0)}
    await until(lambda: service.pool.get_stats()["pool_available"] == service.pool.get_stats()["pool_size"])
    async with service.pool.connection() as connection:
        row = await (
            await connection.execute(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and state like 'idle in transaction%'"
            )
        ).fetchone()
    assert row == (0,)
