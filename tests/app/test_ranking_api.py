"""Captions that count, normalised scores, stacks, scores against chance, a reranker: over HTTP."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import psycopg
import pytest
from PIL import Image

from app.errors import SettingsError
from app.normalising import normalise_gallery
from app.progress import NoProgress
from app.reranking import load_reranker
from app.service import Service
from app.settings import Settings
from tests.app.conftest import COLOURS, connect, picture
from tests.app.events import ask
from tests.app.test_ask_api import hits_of, named
from tests.app.test_search_api import is_problem
from tests.conftest import ROOT

Client = httpx.AsyncClient


async def hits(client: Client, **question: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/search", json={"text": "all red", "k": 8, **question})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["hits"]
    return found


async def test_what_is_not_asked_for_is_null(client: Client) -> None:
    answer = (await client.post("/api/search", json={"text": "all red"})).json()
    assert answer["background"] is None
    for hit in answer["hits"]:
        assert [hit[name] for name in ("normalised", "caption_score", "stack", "percentile")] == [None] * 4


async def test_words_in_captions_count_as_much_as_is_asked(client: Client) -> None:
    plain = await hits(client, text="red orange")
    fused = await hits(client, text="red purple", caption_weight=1)
    assert {hit["uri"] for hit in fused[:2]} == {"red.png", "purple.png"}
    assert {hit["caption_score"] for hit in fused} == {0.5, 0.0}
    assert [hit["id"] for hit in await hits(client, text="red orange", caption_weight=0)] == [
        hit["id"] for hit in plain
    ]
    by_address = await client.get("/api/search", params={"text": "red purple", "k": 8, "caption_weight": 1})
    assert by_address.json()["hits"] == fused
    assert by_address.json()["query"]["caption_weight"] == 1


async def test_words_that_lead_away_are_not_looked_for_in_captions(client: Client) -> None:
    terms = [{"text": "red"}, {"text": "purple", "weight": -0.2}]
    found = await hits(client, text=None, terms=terms, caption_weight=0.5)
    assert [hit["uri"] for hit in found if hit["caption_score"] == 1] == ["red.png"]


async def test_normalised_scores_after_the_command_and_an_error_before_it(
    client: Client, service: Service
) -> None:
    refused = await client.post("/api/search", json={"text": "all red", "normalise": True})
    assert is_problem(refused, 409)
    assert "image-retrieval normalise" in refused.json()["detail"]

    first = await normalise_gallery(service.encoder, service.writing_pool, progress=NoProgress())
    assert (first.captions, first.pictures) == (16, 8)
    again = await normalise_gallery(service.encoder, service.writing_pool, progress=NoProgress())
    assert (again.captions, again.pictures) == (0, 0)

    plain = {hit["id"]: hit["score"] for hit in await hits(client)}
    found = await hits(client, normalise=True)
    assert {hit["id"]: hit["score"] for hit in found} == plain  # honest cosines
    values = [hit["normalised"] for hit in found]
    assert values == sorted(values, reverse=True)

    posted = await client.post("/api/images", files={"image": ("n.png", picture("navy"))})
    assert posted.status_code == 201
    assert len(await hits(client, normalise=True, k=9)) == 9
    later = await normalise_gallery(service.encoder, service.writing_pool, progress=NoProgress())
    assert (later.captions, later.pictures) == (0, 1)


async def test_normalising_that_is_killed_goes_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.normalising.TEXTS_AT_ONCE", 5)
    encoder, encoded = service.encoder, []

    class Dying:
        fingerprint, checkpoint, dimension = encoder.fingerprint, encoder.checkpoint, encoder.dimension
        preprocessing = staticmethod(encoder.preprocessing)

        @staticmethod
        def encode_texts(texts: list[str]) -> Any:
            if len(encoded) == 2:
                raise RuntimeError("killed")
            encoded.append(texts)
            return encoder.encode_texts(texts)

    with pytest.raises(RuntimeError, match="killed"):
        await normalise_gallery(Dying(), service.writing_pool, progress=NoProgress())  # type: ignore[arg-type]
    finished = await normalise_gallery(encoder, service.writing_pool, progress=NoProgress())
    assert (finished.captions, finished.pictures) == (16 - 10, 8)


async def test_near_duplicates_are_one_hit_and_are_reported(client: Client) -> None:
    for number in range(3):
        posted = await client.post(
            "/api/images", files={"image": ("x.png", picture("red", size=(50 + number, 50)))}
        )
        assert posted.status_code == 201
    found = await hits(client, fold_duplicates=0.01, k=20)
    assert len(found) == 8
    assert [len(hit["stack"]) for hit in found] == [3] + [0] * 7
    (stack,) = (await client.get("/api/duplicates", params={"max_distance": 0.01})).json()
    assert {each["id"] for each in stack["pictures"]} == {found[0]["id"], *found[0]["stack"]}
    first = stack["pictures"][0]
    assert (await client.get(f"/api/images/{first['id']}")).json()["width"] == 52
    assert (await client.get(first["thumbnail_url"])).status_code == 200
    assert (await client.get("/api/duplicates", params={"collection": "colours"})).json() == []
    for wrong in ({"max_distance": 3}, {"most": 0}, {"max_distance": "nan"}, {"collection": "\x00"}):
        assert is_problem(await client.get("/api/duplicates", params=wrong), 422)


async def test_each_hit_says_how_unusual_its_score_is(client: Client) -> None:
    answer = (await client.post("/api/search", json={"text": "all red", "k": 8, "background": True})).json()
    scores = sorted(hit["score"] for hit in answer["hits"])
    background = answer["background"]
    assert background["sample"] == 8
    assert background["mean"] == pytest.approx(sum(scores) / 8, abs=1e-6)
    for hit in answer["hits"]:
        assert hit["percentile"] == 100 * (scores.index(hit["score"]) + 1) / 8
    assert (background["chance"], background["nothing_near"]) == (None, None)


@pytest.mark.parametrize("language", ["en", "vi"])
async def test_nothing_nearer_than_chance_is_told_in_words(
    client: Client, service: Service, language: str
) -> None:
    """At a right angle to every picture, nothing is near; and red is near to red."""
    await normalise_gallery(service.encoder, service.writing_pool, progress=NoProgress())
    sentence = {"en": "Nothing here is closer than chance", "vi": "Không ảnh nào gần hơn mức ngẫu nhiên"}
    pictures = service.encoder.encode_images([Image.new("RGB", (40, 30), colour) for colour in COLOURS])
    aside = np.linalg.svd(pictures)[2][-1].astype("<f2")
    away = [{"embedding": base64.b64encode(aside.tobytes()).decode()}]
    for terms, background, nothing_near in (
        (away, True, True),
        (away, False, None),
        ([{"text": "a red picture"}], True, False),
    ):
        events = await ask(client, {"terms": terms, "language": language, "background": background})
        told = named(events, "done")[0]["background"]
        assert (told and told["nothing_near"]) is nothing_near
        assert (sentence[language] in named(events, "text")[0]["markdown"]) is bool(nothing_near)


async def test_the_receipt_of_all_of_it_gives_the_same_rows(
    client: Client, service: Service, settings: Settings
) -> None:
    await normalise_gallery(service.encoder, service.writing_pool, progress=NoProgress())
    events = await ask(
        client,
        {
            "terms": [{"text": "it's red"}, {"text": "blue", "weight": 0.4}],
            "k": 5, "caption_weight": 0.3, "normalise": True, "fold_duplicates": 0.02, "background": True,
            "min_width": 10, "min_height": 10,
        },
    )  # fmt: skip
    receipt = named(events, "done")[0]["receipt"]
    assert (receipt["caption_weight"], receipt["normalise"], receipt["fold_duplicates"]) == (0.3, True, 0.02)
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url) as connection:
        rows = connection.execute(receipt["sql"]).fetchall()
    assert [(rank, str(id_), score, percentile) for rank, id_, _, score, percentile, _ in rows] == [
        (hit["rank"], hit["id"], hit["score"], hit["percentile"]) for hit in hits_of(events)
    ]
    assert len(rows) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"caption_weight": 1.1}, {"caption_weight": -1}, {"fold_duplicates": 3}, {"min_width": 0},
        {"min_height": 10**9}, {"rerank": True},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    assert is_problem(await client.post("/api/search", json={"text": "red", **wrong}), 422)


# a reranker of one's own


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reranker that docs/ranking.md shows, importable; its path."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ranking.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "my_reranker.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_reranker:newer_first"


async def test_the_documented_reranker_puts_newer_pictures_first(
    documented: str, service: Service, settings: Settings
) -> None:
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("update image_retrieval.images set taken_at = now() - interval '30 years'")
        connection.execute("update image_retrieval.images set taken_at = now() where uri = 'red.png'")
    changed = msgspec.structs.replace(settings, reranker=documented)
    reranking = replace(service, reranker=load_reranker(documented))
    async with connect(changed, reranking) as client:
        plain = await hits(client, text="all orange", k=8)
        found = await hits(client, text="all orange", k=8, rerank=True)
        assert [hit["uri"] for hit in plain].index("red.png") > 0
        assert found[0]["uri"] == "red.png"
        assert [hit["rank"] for hit in found] == list(range(1, 9))
        assert {hit["id"]: hit["score"] for hit in found} == {hit["id"]: hit["score"] for hit in plain}
        pages = [
            hit["id"]
            for offset in (0, 3, 6)
            for hit in await hits(client, text="all orange", k=3, offset=offset, rerank=True)
        ]
        assert len(pages) == len(set(pages)) == 8
        done = named(await ask(client, {"text": "all orange", "rerank": True}), "done")[0]
        assert done["receipt"]["reranker"] == documented


@pytest.mark.parametrize("path", ["nothing.of:this", "os", "os:sep", "os:nothing", ":", ""])
def test_a_reranker_that_is_not_there_is_refused_at_the_start(path: str) -> None:
    with pytest.raises(SettingsError, match="reranker is "):
        load_reranker(path)


def test_a_reranker_that_gives_too_few_numbers_fails_and_drops_nothing() -> None:
    import asyncio

    from app.reranking import rerank

    with pytest.raises(ValueError, match="gave 1 numbers for 0 hits"):
        asyncio.run(rerank(lambda _words, _hits: [1.0], "", []))
