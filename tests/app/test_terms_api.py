"""Questions of weighted terms over HTTP, and what narrows them, against a real PostgreSQL."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from app.service import Service, open_service
from app.settings import Settings
from app.terms import _span
from tests.app.conftest import COLOURS, connect, picture
from tests.app.events import ask
from tests.app.test_search_api import is_problem
from tests.encoders import FakeEncoder

Client = httpx.AsyncClient
UNKNOWN = "01234567-89ab-8def-8123-456789abcdef"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def vector(numbers: Any) -> str:
    return base64_of(np.asarray(numbers, "<f2").tobytes())


async def search(client: Client, **body: Any) -> dict[str, Any]:
    response = await client.post("/api/search", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def ids(client: Client) -> dict[str, str]:
    """Return the id of each colour's picture."""
    hits = (await search(client, text="x", k=8))["hits"]
    return {hit["uri"].removesuffix(".png"): hit["id"] for hit in hits}


def halves(left: str, right: str, form: str = "PNG", **options: Any) -> bytes:
    image = Image.new("RGB", (80, 60), left)
    image.paste(right, (40, 0, 80, 60))
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


# terms


async def test_terms_answer_as_numpy_says(client: Client, encoder: FakeEncoder) -> None:
    known = await ids(client)
    red = Image.open(BytesIO(picture("red")))
    parts = {
        "text": (encoder.encode_texts(["all blue"])[0], 1.5),
        "image": (encoder.encode_images([red])[0], -0.7),
        "image_id": (encoder.encode_images([Image.new("RGB", (40, 30), "lime")])[0], 0.4),
        "embedding": (encoder.encode_images([Image.new("RGB", (40, 30), "white")])[0], 0.3),
    }
    answer = await search(
        client,
        k=8,
        terms=[
            {"text": "all blue", "weight": 1.5},
            {"image": base64_of(picture("red")), "weight": -0.7},
            {"image_id": known["lime"], "weight": 0.4},
            {"embedding": vector(3 * parts["embedding"][0]), "weight": 0.3},
        ],
    )
    combined = sum(weight * part for part, weight in parts.values())
    combined /= np.linalg.norm(combined)
    for hit in answer["hits"]:
        colour = Image.new("RGB", (40, 30), hit["uri"].removesuffix(".png"))
        own = encoder.encode_images([colour])[0]
        assert hit["score"] == pytest.approx(own @ combined, abs=3e-3)
        assert hit["term_scores"] == pytest.approx([own @ part for part, _ in parts.values()], abs=3e-3)
        assert hit["text_score"] == hit["term_scores"][0]
        assert hit["image_score"] is None  # there are three
        assert hit["byte_size"] > 0
    assert [term["kind"] for term in answer["query"]["terms"]] == list(parts)
    assert [term["weight"] for term in answer["query"]["terms"]] == [1.5, -0.7, 0.4, 0.3]


async def test_words_and_picture_are_two_terms(client: Client) -> None:
    image = base64_of(picture("blue"))
    short = await search(client, text="all red", image=image, alpha=0.25, k=8)
    long = await search(
        client, k=8, terms=[{"text": "all red", "weight": 0.25}, {"image": image, "weight": 0.75}]
    )
    assert short["hits"] == long["hits"]
    assert short["query"]["terms"] == long["query"]["terms"]
    assert (short["query"]["text_weight"], short["query"]["image_weight"]) == (0.25, 0.75)
    assert (long["query"]["text_weight"], long["query"]["image_weight"]) == (0.25, 0.75)
    alone = await search(client, text="all red", alpha=0.25)
    assert [(term["kind"], term["weight"]) for term in alone["query"]["terms"]] == [("text", 1)]


async def test_a_weight_below_zero_leads_away(client: Client) -> None:
    known = await ids(client)
    towards = await search(client, k=8, terms=[{"image_id": known["red"]}])
    away = await search(client, k=8, terms=[{"image_id": known["red"], "weight": -1}])
    assert towards["hits"][0]["uri"] == away["hits"][-1]["uri"] == "red.png"
    assert [hit["id"] for hit in away["hits"]] == [hit["id"] for hit in towards["hits"]][::-1]


async def test_the_echo_of_a_picture_asks_the_same_again(client: Client) -> None:
    """So that an address can hold a question with a picture that was never stored."""
    first = await search(client, k=8, terms=[{"text": "all red"}, {"image": base64_of(picture("teal"))}])
    text, image = first["query"]["terms"]
    assert (text["embedding"], image["text"], image["image_id"]) == (None, None, None)
    again = await search(client, k=8, terms=[{"text": "all red"}, {"embedding": image["embedding"]}])
    assert again["query"]["terms"][1]["embedding"] == image["embedding"]
    assert [hit["id"] for hit in again["hits"]] == [hit["id"] for hit in first["hits"]]
    for one, other in zip(first["hits"], again["hits"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=2e-3)


async def test_a_picture_of_the_gallery_may_be_kept_from_answering_itself(client: Client) -> None:
    known = await ids(client)
    terms = [{"image_id": known["red"]}, {"image_id": known["lime"], "weight": 0.2}]
    answer = await search(client, k=8, terms=terms, exclude=[known["blue"]], exclude_self=True)
    assert len(answer["hits"]) == 5
    gone = [known["blue"], known["red"], known["lime"]]
    assert answer["query"]["exclude"] == gone
    assert not {hit["id"] for hit in answer["hits"]} & set(gone)
    by_address = await client.get(
        "/api/search", params={"image_id": known["red"], "exclude_self": "true", "k": 8}
    )
    assert len(by_address.json()["hits"]) == 7


async def test_twenty_terms_are_taken(client: Client) -> None:
    known = await ids(client)
    terms = [{"image_id": known[COLOURS[n % 8]], "weight": n / 10} for n in range(10)]
    answer = await search(client, k=8, terms=terms + [{"text": f"number {n}"} for n in range(10)])
    assert len(answer["hits"][0]["term_scores"]) == 20


async def test_a_text_longer_than_the_encoder_reads_is_the_mean_of_its_sentences(
    client: Client, encoder: FakeEncoder
) -> None:
    sentences = ["red " * 40 + ".", "blue " * 40 + ".", "all white."]
    text = " ".join(sentences)
    assert encoder.is_truncated(text)
    answer = await search(client, k=8, terms=[{"text": "red"}, {"text": text, "weight": 0}])
    assert [term["sentences"] for term in answer["query"]["terms"]] == [1, 3]
    assert answer["query"]["truncated"] is False
    mean = encoder.encode_texts([sentence.strip() for sentence in sentences]).mean(axis=0)
    mean /= np.linalg.norm(mean)
    for hit in answer["hits"]:
        own = encoder.encode_images([Image.new("RGB", (40, 30), hit["uri"].removesuffix(".png"))])[0]
        assert hit["term_scores"][1] == pytest.approx(own @ mean, abs=3e-3)


# regions


async def test_a_region_of_an_uploaded_picture_asks_by_that_part(client: Client) -> None:
    image = base64_of(halves("red", "blue"))
    for x, colour in ((0.0, "red"), (0.5, "blue")):
        region = {"x": x, "y": 0.1, "width": 0.5, "height": 0.8}
        answer = await search(client, k=1, terms=[{"image": image, "region": region}])
        assert answer["hits"][0]["uri"] == f"{colour}.png"
        assert answer["hits"][0]["score"] == pytest.approx(1, abs=2e-3)
        (term,) = answer["query"]["terms"]
        assert term["region"] == region
        assert term["embedding"] is not None


async def test_a_region_of_a_picture_of_the_gallery_is_cut_from_its_file(client: Client) -> None:
    sent = halves("lime", "purple")
    posted = await client.post("/api/images", files={"image": ("h.png", sent)}, data={"collection": "halves"})
    term = {"image_id": posted.json()["id"], "region": {"x": 0.6, "y": 0, "width": 0.4, "height": 1}}
    answer = await search(client, k=1, terms=[term], collection="colours")
    assert answer["hits"][0]["uri"] == "purple.png"
    assert answer["query"]["terms"][0]["image_id"] == term["image_id"]
    assert answer["query"]["terms"][0]["embedding"] is not None


async def test_a_region_is_one_of_the_upright_picture(client: Client) -> None:
    """The file lies on its side: what is above in it is to the right when it is upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.new("RGB", (60, 80), "yellow")
    lying.paste("black", (0, 40, 60, 80))  # upright: yellow to the right, black to the left
    file = BytesIO()
    lying.save(file, "JPEG", quality=95, exif=exif)
    for x, colour in ((0.0, "black"), (0.6, "yellow")):
        region = {"x": x, "y": 0, "width": 0.4, "height": 1}
        terms = [{"image": base64_of(file.getvalue()), "region": region}]
        assert (await search(client, k=1, terms=terms))["hits"][0]["uri"] == f"{colour}.png"


@given(st.floats(0, 1), st.floats(1e-6, 1), st.integers(1, 5000))
def test_a_region_has_at_least_a_pixel_and_stays_inside(start: float, length: float, pixels: int) -> None:
    length = min(length, 1 - start)
    first, end = _span(start, length, pixels)
    assert 0 <= first < end <= pixels
    assert end - first <= length * pixels + 2


async def test_a_region_of_a_picture_whose_file_is_gone_is_410(client: Client, folder: Path) -> None:
    known = await ids(client)
    (folder / "red.png").unlink()
    region = {"x": 0, "y": 0, "width": 1, "height": 1}
    asked = {"terms": [{"image_id": known["red"], "region": region}]}
    assert is_problem(await client.post("/api/search", json=asked), 410)
    await search(client, terms=[{"image_id": known["red"]}])  # whole, it needs no file


# what narrows a question


async def test_excluded_pictures_do_not_answer(client: Client) -> None:
    known = await ids(client)
    whole = await search(client, text="all red", k=8)
    gone = [known["red"], known["purple"]]
    left = await search(client, text="all red", k=8, exclude=gone)
    assert [hit["id"] for hit in left["hits"]] == [
        hit["id"] for hit in whole["hits"] if hit["id"] not in gone
    ]
    assert left["query"]["exclude"] == gone
    by_address = await client.get("/api/search", params={"text": "all red", "k": 8, "exclude": gone})
    by_form = await client.post("/api/search", data={"text": "all red", "k": "8", "exclude": gone})
    assert by_address.json()["hits"] == by_form.json()["hits"] == left["hits"]


async def test_a_least_score_cuts(client: Client) -> None:
    whole = await search(client, text="all red", k=8)
    least = whole["hits"][2]["score"]
    for cut in (
        await search(client, text="all red", k=8, min_score=least),
        (await client.get("/api/search", params={"text": "all red", "k": 8, "min_score": least})).json(),
    ):
        assert cut["hits"] == whole["hits"][:3]
        assert cut["query"]["min_score"] == least


@pytest.fixture
async def dated(client: Client, service: Service) -> Client:
    """The colours in order, taken on the first of January, February, …; orange at no known time."""
    async with service.writing_pool.connection() as connection:
        for month, colour in enumerate(COLOURS[:-1], 1):
            await connection.execute(
                "update images set taken_at = make_timestamptz(2024, %s, 1, 0, 0, 0, 'UTC') where uri = %s",
                (month, f"{colour}.png"),
            )
    return client


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"taken_from": "2024-03-01"}, COLOURS[2:7]),
        ({"taken_to": "2024-03-01"}, COLOURS[:2]),
        ({"taken_from": "2024-02-01T00:00:00Z", "taken_to": "2024-04-01T00:00:00Z"}, COLOURS[1:3]),
        ({"taken_from": "2024-03-01T02:00:00+02:00", "taken_to": "2024-03-01T00:00:01"}, COLOURS[2:3]),
        ({"taken_from": "2024-03-01", "taken_to": "2024-03-01"}, ()),
        ({"taken_from": "0001-01-01T00:00:00+14:00", "taken_to": "9999-12-31T23:59:59-12:00"}, COLOURS[:7]),
    ],
)
async def test_a_span_of_time_narrows(dated: Client, span: dict[str, str], expected: tuple[str, ...]) -> None:
    by_json = await search(dated, text="x", k=8, **span)
    by_address = (await dated.get("/api/search", params={"text": "x", "k": 8, **span})).json()
    assert {hit["uri"] for hit in by_json["hits"]} == {f"{colour}.png" for colour in expected}
    assert by_address["hits"] == by_json["hits"]


async def test_hits_come_by_date_when_asked(dated: Client) -> None:
    newest = (await search(dated, text="x", k=8, sort="newest"))["hits"]
    oldest = (await dated.get("/api/search", params={"text": "x", "k": 8, "sort": "oldest"})).json()["hits"]
    assert [hit["uri"] for hit in newest] == [f"{colour}.png" for colour in (*COLOURS[6::-1], COLOURS[7])]
    assert [hit["uri"] for hit in oldest] == [f"{colour}.png" for colour in COLOURS]
    assert [hit["rank"] for hit in newest] == list(range(1, 9))
    page = (await search(dated, text="x", k=3, offset=3, sort="newest"))["hits"]
    assert page == newest[3:6]


# what cannot be asked

D = 64
PICTURE = base64_of(picture("red"))
UNIT = vector([1] + [0] * (D - 1))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ([], "terms"),
        ([{}], "terms[0] has nothing"),
        ([{"weight": 2}], "terms[0] has nothing"),
        ([{"text": "x", "image_id": UNKNOWN}], "terms[0] has text and image_id"),
        ([{"text": "x"}, {"image": PICTURE, "embedding": UNIT}], "terms[1] has image and embedding"),
        ([{"text": "x"}] * 21, "terms"),
        ([{"text": " "}], "empty"),
        ([{"text": "x"}, {"text": ""}], "terms[1].text is empty"),
        ([{"text": "x" * 8001}], "8000"),
        ([{"text": "x\x00"}], "NUL"),
        ([{"text": 3}], "terms[0].text"),
        ([{"text": "x", "weight": "1"}], "weight"),
        ([{"text": "x", "weight": 10.5}], "weight"),
        ([{"text": "x", "weight": -11}], "weight"),
        ([{"text": "x", "weight": None}], "weight"),
        ([{"text": "x", "weigth": 1}], "weigth"),
        ([{"text": "x", "weight": 0}], "add up to nothing"),
        ([{"text": "x"}, {"text": "x", "weight": -1}], "add up to nothing"),
        ([{"text": "x", "weight": 1e-300}, {"text": "x", "weight": -1e-300}], "add up to nothing"),
        ([{"image": "?"}], "terms[0].image"),
        ([{"image": "http://127.0.0.1:1/x.png"}], "fetches nothing"),
        ([{"image": base64_of(b"no picture")}], "terms[0]"),
        ([{"image_id": "x"}], "image_id"),
        ([{"embedding": "?"}], "terms[0].embedding"),
        ([{"embedding": ""}], "dimensions"),
        ([{"embedding": vector([1] * 63)}], "63 dimensions"),
        ([{"embedding": vector([1] * 65)}], "65 dimensions"),
        ([{"embedding": base64_of(b"x" * 127)}], "127 bytes"),
        ([{"embedding": vector([0] * D)}], "zero"),
        ([{"embedding": vector([np.nan] + [1] * (D - 1))}], "no number"),
        ([{"embedding": vector([np.inf] + [1] * (D - 1))}], "no number"),
        ([{"text": "x", "region": {"x": 0, "y": 0, "width": 1, "height": 1}}], "region"),
        ([{"embedding": UNIT, "region": {"x": 0, "y": 0, "width": 1, "height": 1}}], "region"),
        ([{"image": PICTURE, "region": {"x": 0, "y": 0, "width": 1}}], "height"),
        ([{"image": PICTURE, "region": {"x": 0, "y": 0, "width": 0, "height": 1}}], "width"),
        ([{"image": PICTURE, "region": {"x": -0.1, "y": 0, "width": 1, "height": 1}}], "x"),
        ([{"image": PICTURE, "region": {"x": 0.5, "y": 0, "width": 0.6, "height": 1}}], "not within"),
        ([{"image": PICTURE, "region": {"x": 0, "y": 1, "width": 1, "height": 0.1}}], "not within"),
        ([{"image": PICTURE, "region": {"x": 0, "y": 0, "width": 1.5, "height": 1}}], "width"),
        ([{"image": PICTURE, "region": {"x": "0", "y": 0, "width": 1, "height": 1}}], "x"),
        ([{"image": PICTURE, "region": [0, 0, 1, 1]}], "region"),
        ("x", "terms"),
        ({"text": "x"}, "terms"),
        ([["text", "x"]], "terms"),
    ],
)
async def test_terms_that_cannot_be_asked_are_422_and_named(client: Client, terms: Any, said: str) -> None:
    for address in ("/api/search", "/api/ask"):
        response = await client.post(address, json={"terms": terms})
        assert is_problem(response, 422)
        assert said in response.json()["detail"], response.json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "body", ['{{"terms": [{{"text": "x", "weight": {}}}]}}', '{{"text": "x", "min_score": {}}}']
)
async def test_what_is_no_number_is_422(client: Client, body: str, number: str) -> None:
    headers = {"content-type": "application/json"}
    assert is_problem(await client.post("/api/search", content=body.format(number), headers=headers), 422)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exclude": "x"}, "exclude"),
        ({"exclude": ["x"]}, "exclude"),
        ({"exclude": [UNKNOWN] * 1001}, "exclude"),
        ({"taken_from": "yesterday"}, "taken_from"),
        ({"taken_to": "2024-13-01"}, "taken_to"),
        ({"taken_to": "2024-01-01T25:00:00Z"}, "taken_to"),
        ({"taken_to": 3}, "taken_to"),
        ({"taken_from": ""}, "taken_from"),
        ({"taken_from": "2024-02-01", "taken_to": "2024-01-31"}, "is after taken_to"),
        ({"min_score": "high"}, "min_score"),
        ({"sort": "random"}, "sort"),
        ({"sort": None}, "sort"),
        ({"terms": [{"text": "y"}]}, "terms are given"),
    ],
)
async def test_options_that_cannot_be_asked_are_422_and_named(
    client: Client, fields: dict[str, Any], said: str
) -> None:
    response = await client.post("/api/search", json={"text": "x", **fields})
    assert is_problem(response, 422)
    assert said in response.json()["detail"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"exclude": "x"}, "exclude"),
        ({"min_score": "nan"}, "min_score"),
        ({"min_score": "inf"}, "min_score"),
        ({"min_score": "x"}, "min_score"),
        ({"sort": "random"}, "sort"),
        ({"taken_from": "x"}, "taken_from"),
        ({"taken_from": "2024-02-01", "taken_to": "2024-01-31"}, "taken_to"),
    ],
)
async def test_wrong_options_in_an_address_are_422_and_named(
    client: Client, params: dict[str, str], said: str
) -> None:
    response = await client.get("/api/search", params={"text": "x", **params})
    assert is_problem(response, 422)
    assert said in response.json()["detail"]


async def test_a_form_takes_no_terms(client: Client) -> None:
    response = await client.post("/api/search", data={"terms": '[{"text": "x"}]'})
    assert is_problem(response, 422)
    assert "terms" in response.json()["detail"]


async def test_a_term_that_is_not_in_the_gallery_is_404(client: Client) -> None:
    for terms in ([{"image_id": UNKNOWN}], [{"text": "x"}, {"image_id": UNKNOWN, "weight": -1}]):
        response = await client.post("/api/search", json={"terms": terms})
        assert is_problem(response, 404)
        assert UNKNOWN in response.json()["detail"]


async def test_an_empty_gallery_answers_that_it_is_empty(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, data_dir=tmp_path)
    async with open_service(settings, FakeEncoder()) as service, connect(settings, service) as client:
        assert (await search(client, text="x"))["hits"] == []
        assert (await client.get("/api/status")).json()["encoder"] is None
        events = await ask(client, {"text": "x"})
        assert [name for name, _ in events] == ["understood", "text", "done"]
        assert "There are no pictures yet" in events[1][1]["html"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SIDES = ("x", "y", "width", "height")
FIELDS = ("exclude", "taken_from", "taken_to", "min_score", "sort", "k", "offset", "language", "exact")
term_values = st.fixed_dictionaries(
    {},
    optional={
        "text": json_values | st.just("red"),
        "image": json_values | st.just(PICTURE),
        "image_id": json_values | st.just(UNKNOWN),
        "embedding": json_values | st.just(UNIT),
        "weight": json_values | st.floats(-10, 10),
        "region": json_values | st.fixed_dictionaries({n: st.floats(0, 1) for n in SIDES}),
    },
)


@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries(
        {"terms": st.lists(term_values, max_size=4)},
        optional=dict.fromkeys(FIELDS, json_values),
    )
)
async def test_whatever_is_asked_is_answered_or_a_documented_problem(client: Client, body: Any) -> None:
    content = json.dumps(body)
    response = await client.post("/api/ask", content=content, headers={"content-type": "application/json"})
    assert response.status_code in (200, 404, 422), response.text
    if response.status_code == 200:
        assert "event: error" not in response.text
        assert "event: done" in response.text
