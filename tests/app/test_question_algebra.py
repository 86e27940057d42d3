"""Questions that negate, that are balanced, that follow feedback; and judgements."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image

from app.judgements import export_judgements
from app.service import Service
from app.settings import Settings
from tests.app.conftest import COLOURS
from tests.app.events import ask
from tests.app.test_search_api import is_problem
from tests.app.test_terms_api import ids, search
from tests.encoders import FakeEncoder
from training.captions import load_flickr8k_captions

Client = httpx.AsyncClient
UNKNOWN = "01234567-89ab-8def-8123-456789abcdef"


def refusal(response: httpx.Response, status: int) -> str:
    assert is_problem(response, status)
    return str(response.json()["detail"])


def of(encoder: FakeEncoder, colour: str) -> Any:
    return encoder.encode_images([Image.new("RGB", (40, 30), colour)])[0]


# negation


async def test_what_is_negated_is_taken_out_and_told(client: Client, encoder: FakeEncoder) -> None:
    text = "a purple picture without a red tint"
    answer = await search(client, text=text, k=8)
    (term,) = answer["query"]["terms"]
    assert (term["text"], term["understood"], term["without"]) == (text, "a purple picture", ["a red tint"])
    asked, concept = encoder.encode_texts(["a purple picture", "a red tint"])
    found = {hit["uri"]: hit["score"] for hit in answer["hits"]}
    plain = {hit["uri"]: hit["score"] for hit in (await search(client, text="a purple picture", k=8))["hits"]}
    assert found["red.png"] < plain["red.png"] - 0.1
    assert asked @ concept > 0
    assert answer["hits"][0]["term_scores"] == [pytest.approx(answer["hits"][0]["score"])]
    events = await ask(client, {"text": text, "k": 3})
    markdown = next(data["markdown"] for name, data in events if name == "text")
    assert "Understood: “a purple picture”, **without “a red tint”**." in markdown
    literal = await search(client, text=text, k=8, literal=True)
    assert (literal["query"]["literal"], literal["query"]["terms"][0]["without"]) == (True, [])
    own = encoder.encode_texts([text])[0]
    for hit in literal["hits"]:
        assert hit["score"] == pytest.approx(of(encoder, hit["uri"][:-4]) @ own, abs=3e-3)


async def test_a_question_that_only_negates_leads_away(client: Client) -> None:
    answer = await search(client, text="no red", k=8)
    assert answer["query"]["terms"][0]["understood"] == ""
    assert answer["hits"][-1]["uri"] == "red.png"


async def test_a_question_that_negates_nothing_is_answered_as_before(client: Client) -> None:
    for text in ("a red picture", "a no parking sign", "có màu đỏ không?"):
        terms = [{"text": text}, {"text": "blue"}]
        understood = await search(client, terms=terms, k=8)
        assert understood["hits"] == (await search(client, terms=terms, k=8, literal=True))["hits"]


async def test_what_cancels_out_is_refused(client: Client) -> None:
    text = {"text": "red without red"}
    refused = await client.post("/api/search", json={"terms": [text], "k": 1})
    assert refused.status_code == 200  # six tenths of it are left
    terms = [{"text": "red"}, {"text": "red", "weight": -1}]
    assert "add up to nothing" in refusal(await client.post("/api/search", json={"terms": terms}), 422)


# balance


async def test_balanced_terms_are_scaled_by_their_spread(client: Client, encoder: FakeEncoder) -> None:
    known = await ids(client)
    terms = [{"text": "all red", "weight": 0.6}, {"image_id": known["blue"], "weight": 0.4}]
    answer = await search(client, terms=terms, k=8, balanced=True)
    assert answer["query"]["balanced"] is True
    pictures = np.stack([of(encoder, colour) for colour in COLOURS])
    words, picture = encoder.encode_texts(["all red"])[0], of(encoder, "blue")
    centre = pictures.mean(axis=0)
    query = sum(
        weight * (each - centre) / (pictures @ (each - centre)).std(ddof=1)
        for weight, each in ((0.6, words), (0.4, picture))
    )
    query = query / np.linalg.norm(query)
    for hit in answer["hits"]:
        own = of(encoder, hit["uri"][:-4])
        assert hit["score"] == pytest.approx(own @ query, abs=3e-3)
        assert hit["term_scores"] == pytest.approx([own @ words, own @ picture], abs=3e-3)


# feedback


async def test_feedback_leads_towards_more_and_away_from_less(client: Client) -> None:
    known = await ids(client)

    def scores(answer: dict[str, Any]) -> dict[str, float]:
        return {hit["uri"]: hit["score"] for hit in answer["hits"]}

    before = scores(await search(client, text="all purple", k=8))
    judged = {"more": [known["blue"]], "less": [known["red"]]}
    answer = await search(client, text="all purple", k=8, **judged)
    assert {name: answer["query"][name] for name in judged} == judged
    after = scores(answer)
    assert after["blue.png"] > before["blue.png"]
    assert after["red.png"] < before["red.png"]
    without = await search(client, text="all purple", k=8, exclude_self=True, **judged)
    assert not set(judged["more"] + judged["less"]) & {hit["id"] for hit in without["hits"]}
    by_address = await client.get("/api/search", params={"text": "all purple", "k": 8, **judged})
    assert scores(by_address.json()) == after
    assert (await search(client, text="all purple", k=8, more=[], less=[]))["hits"] == (
        await search(client, text="all purple", k=8)
    )["hits"]


async def test_feedback_that_cannot_be_is_named(client: Client) -> None:
    red = (await ids(client))["red"]
    unknown = await client.post("/api/search", json={"text": "x", "more": [UNKNOWN]})
    assert UNKNOWN in refusal(unknown, 404)
    both = await client.post("/api/search", json={"text": "x", "more": [red], "less": [red]})
    assert "in more and in less" in refusal(both, 422)
    many = await client.post("/api/search", json={"text": "x", "more": [red] * 101})
    assert "101 pictures" in refusal(many, 422)


async def test_the_receipt_of_all_of_it_gives_the_same_rows(client: Client, settings: Settings) -> None:
    known = await ids(client)
    body = {
        "terms": [
            {"text": "a purple picture without a red tint or black", "weight": 0.7},
            {"image_id": known["blue"], "weight": 0.5},
            {"text": "no yellow", "weight": 0.1},
        ],
        "balanced": True, "more": [known["white"]], "less": [known["orange"], known["lime"]], "k": 7,
    }  # fmt: skip
    events = await ask(client, body)
    hits = [hit for name, data in events if name == "hits" for hit in data["hits"]]
    receipt = next(data["receipt"] for name, data in events if name == "done")
    assert (receipt["balanced"], receipt["more"], len(receipt["less"])) == (True, [known["white"]], 2)
    for function in ("without(", "balanced_query(", "feedback_query("):
        assert function in receipt["sql"]
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url) as plain:
        rows = plain.execute(receipt["sql"]).fetchall()
    assert [(rank, str(image_id), uri) for rank, image_id, uri, _ in rows] == [
        (hit["rank"], hit["id"], hit["uri"]) for hit in hits
    ]
    assert [score for *_, score in rows] == [hit["score"] for hit in hits]


# judgements


async def test_judgements_are_noted_and_exported_as_captions(
    client: Client, service: Service, tmp_path: Path
) -> None:
    known = await ids(client)
    question = 'two  dogs, "running"\nfast'
    said = await client.post(
        "/api/judgements",
        json={"text": question, "more": [known["red"], known["blue"]], "less": [known["lime"]]},
    )
    assert (said.status_code, said.json()["more"], said.json()["less"]) == (201, 2, 1)
    await client.post("/api/judgements", json={"text": question, "less": [known["blue"]]})
    file = tmp_path / "judged.txt"
    async with service.pool.connection() as connection:
        assert await export_judgements(connection, file, None) == 1
    assert load_flickr8k_captions(file) == {"red.png": ['two dogs, "running" fast']}
    assert file.read_text(encoding="utf-8").startswith("image,caption\n")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "x"}, 422, "nothing is judged"),
        ({"text": " ", "more": [UNKNOWN]}, 422, "text has 0 characters"),
        ({"text": "x", "more": [UNKNOWN]}, 404, "not in the gallery"),
        ({"text": "x", "more": [UNKNOWN], "less": [UNKNOWN]}, 422, "in more and in less"),
        ({"text": "a\0b", "more": [UNKNOWN]}, 422, "NUL"),
        ({"more": [UNKNOWN]}, 422, "text"),
    ],
)
async def test_a_judgement_that_cannot_be_is_named(
    client: Client, body: dict[str, Any], status: int, said: str
) -> None:
    assert said in refusal(await client.post("/api/judgements", json=body), status)
