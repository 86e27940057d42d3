"""What is in the gallery, over HTTP: collections, facets, the status, pictures as a zip."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from app.archive import unique_names
from app.service import Service
from app.settings import Settings
from tests.app.conftest import COLOURS, connect, picture
from tests.app.test_search_api import is_problem

Client = httpx.AsyncClient
UNKNOWN = "01234567-89ab-8def-8123-456789abcdef"


async def upload(client: Client, colour: str, **form: str) -> str:
    posted = await client.post("/api/images", data=form, files={"image": ("n.png", picture(colour))})
    assert posted.status_code == 201, posted.text
    return str(posted.json()["id"])


async def ids(client: Client, k: int = 8) -> dict[str, str]:
    """Return the id of each picture of the folder by its uri."""
    hits = (await client.get("/api/search", params={"text": "x", "k": k})).json()["hits"]
    return {hit["uri"]: hit["id"] for hit in hits}


async def test_collections_say_how_many_can_be_found(client: Client, settings: Settings) -> None:
    assert (await client.get("/api/collections")).json() == [
        {"name": "colours", "kind": "folder", "images": 8, "encoded": 8}
    ]
    await upload(client, "navy")
    with psycopg.connect(str(settings.database_url)) as connection:
        connection.execute(
            "delete from image_retrieval.image_embeddings using image_retrieval.images"
            " where id = image_id and uri in ('red.png', 'blue.png')"
        )
    assert (await client.get("/api/collections")).json() == [
        {"name": "colours", "kind": "folder", "images": 8, "encoded": 6},
        {"name": "uploads", "kind": "uploads", "images": 1, "encoded": 1},
    ]


async def test_facets_are_what_filters_take(client: Client, settings: Settings) -> None:
    await upload(client, "navy", attributes='{"year": 2019, "tags": ["sea", "sky"]}')
    await upload(client, "teal", attributes='{"year": 2019, "tags": ["sea"]}', collection="shop")
    await upload(client, "pink", attributes='{"year": 2020.5, "new": true}', collection="shop")
    with psycopg.connect(str(settings.database_url)) as connection:
        connection.execute(
            "update image_retrieval.images set taken_at = '2024-03-01T10:00:00Z' where uri = 'red.png'"
        )
        connection.execute(
            "update image_retrieval.images set taken_at = '2024-05-01T10:00:00Z' where uri = 'lime.png'"
        )
    facets = (await client.get("/api/facets")).json()
    assert facets == {
        "count": 11,
        "taken_from": "2024-03-01T10:00:00Z",
        "taken_to": "2024-05-01T10:00:00Z",
        "attributes": [
            {"key": "tags", "values": [{"value": ["sea"], "count": 2}, {"value": ["sky"], "count": 1}]},
            {"key": "year", "values": [{"value": 2019, "count": 2}, {"value": 2020.5, "count": 1}]},
            {"key": "new", "values": [{"value": True, "count": 1}]},
        ],
    }
    for facet in facets["attributes"]:
        for value in facet["values"]:
            body = {"text": "x", "k": 20, "attributes": {facet["key"]: value["value"]}}
            hits = (await client.post("/api/search", json=body)).json()["hits"]
            assert len(hits) == value["count"], facet
    shop = (await client.get("/api/facets", params={"collection": "shop"})).json()
    assert (shop["count"], shop["taken_from"], shop["taken_to"]) == (2, None, None)
    nowhere = (await client.get("/api/facets", params={"collection": "none"})).json()
    assert nowhere == {"count": 0, "taken_from": None, "taken_to": None, "attributes": []}
    assert is_problem(await client.get("/api/facets", params={"collection": "\x00"}), 422)


async def test_the_status_tells_what_is_here_and_the_bounds(
    client: Client, service: Service, settings: Settings
) -> None:
    status = (await client.get("/api/status")).json()
    assert status.pop("version")
    assert status == {
        "images": 8,
        "encoder": {
            "name": "encoder",
            "checkpoint": "fake/encoder",
            "fingerprint": service.encoder.fingerprint,
            "dimension": 64,
        },
        "writes": "open",
        "max_upload_bytes": 1_000_000,
        "max_k": 1000,
        "max_text_chars": 8000,
        "max_terms": 20,
    }


@pytest.mark.parametrize(
    ("changes", "writes", "answered"),
    [({}, "open", 201), ({"write_key": "k"}, "key", 401), ({"host": "0.0.0.0"}, "key", 401)],
)
async def test_writes_are_what_the_status_says(
    service: Service, settings: Settings, changes: dict[str, Any], writes: str, answered: int
) -> None:
    changed = settings.replace(**changes)
    service = type(service)(**{**vars(service), "settings": changed})
    async with connect(changed, service) as client:
        assert (await client.get("/api/status")).json()["writes"] == writes
        posted = await client.post("/api/images", files={"image": ("n.png", picture("navy"))})
        assert posted.status_code == answered


async def zipped(client: Client, ids: list[str]) -> zipfile.ZipFile:
    answer = await client.post("/api/images/zip", json={"ids": ids})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="pictures.zip"'
    archive = zipfile.ZipFile(BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


async def test_many_pictures_come_as_one_zip_of_their_files(client: Client, folder: Path) -> None:
    uploaded = await upload(client, "navy")
    known = await ids(client)
    archive = await zipped(client, [known["red.png"], uploaded, known["blue.png"], known["red.png"]])
    assert len(archive.namelist()) == 3
    assert archive.namelist()[0::2] == ["red.png", "blue.png"]
    assert archive.read("red.png") == (folder / "red.png").read_bytes()
    assert archive.read(archive.namelist()[1]) == picture("navy")


async def test_what_is_missing_is_left_out_and_named(client: Client, folder: Path) -> None:
    known = await ids(client)
    (folder / "red.png").unlink()
    archive = await zipped(client, [known["red.png"], known["blue.png"], UNKNOWN])
    assert archive.namelist() == ["blue.png", "missing.txt"]
    said = archive.read("missing.txt").decode().splitlines()
    assert said == [
        f"{UNKNOWN}: no picture of the gallery",
        f"{known['red.png']}: the file of colours/red.png is gone",
    ]


async def test_a_zip_of_nothing_is_refused(client: Client) -> None:
    assert is_problem(await client.post("/api/images/zip", json={"ids": [UNKNOWN]}), 404)


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": []}, {"ids": ["x"]}, {"ids": UNKNOWN}, {"ids": [UNKNOWN] * 201}, {"ids": [], "k": 1}, []],
)
async def test_a_wrong_list_of_pictures_is_422(client: Client, body: object) -> None:
    assert is_problem(await client.post("/api/images/zip", json=body), 422)


def test_names_in_a_zip_are_unique_wherever_it_is_unpacked() -> None:
    uris = ["a/x.jpg", "b/x.jpg", "X.JPG", "c/x (2).jpg", "missing.txt", "d/../e/y", "f/y", "đường.png"]
    names = unique_names(uris)
    assert names == [
        "x.jpg", "x (2).jpg", "X (3).JPG", "x (2) (2).jpg", "missing (2).txt", "y", "y (2)", "đường.png"
    ]  # fmt: skip
    assert len({name.casefold() for name in names}) == len(names)


async def test_every_colour_is_there(client: Client) -> None:
    known = await ids(client)
    archive = await zipped(client, list(known.values()))
    assert sorted(archive.namelist()) == sorted(f"{colour}.png" for colour in COLOURS)
