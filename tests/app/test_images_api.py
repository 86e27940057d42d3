"""Pictures over HTTP: in, out, and what is refused."""

import asyncio
import dataclasses
import re
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.service import Service
from app.settings import Settings
from tests.app.conftest import connect, picture
from tests.app.test_search_api import is_problem

Client = httpx.AsyncClient


async def first_id(client: Client) -> str:
    found = (await client.get("/api/search", params={"text": "x", "k": 1})).json()["hits"][0]["id"]
    assert isinstance(found, str)
    return found


async def test_a_picture_goes_in_and_comes_out_as_it_was(client: Client) -> None:
    sent = picture("navy", size=(64, 48))
    form = {"captions": ["a navy picture", "  ", "bức ảnh màu xanh"], "attributes": '{"camera": "X1"}'}
    posted = await client.post("/api/images", data=form, files={"image": ("n.png", sent, "image/png")})
    assert posted.status_code == 201, posted.text
    body = posted.json()
    assert [caption["body"] for caption in body["captions"]] == ["a navy picture", "bức ảnh màu xanh"]
    assert (body["collection"], body["width"], body["height"]) == ("uploads", 64, 48)
    assert (await client.get(f"/api/images/{body['id']}")).json() == body
    file = await client.get(body["image_url"])
    assert file.content == sent
    assert file.headers["content-type"] == "image/png"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in file.headers["content-security-policy"]
    found = (await client.post("/api/search", files={"image": ("q.png", sent)})).json()["hits"][0]
    assert found["id"] == body["id"]


async def test_the_same_picture_again_is_the_same_row(client: Client) -> None:
    files = {"image": ("n.png", picture("navy"), "image/png")}
    first = await client.post("/api/images", data={"captions": ["one"]}, files=files)
    second = await client.post("/api/images", files=files)
    third = await client.post("/api/images", data={"captions": ["two"]}, files=files)
    assert (first.status_code, second.status_code, third.status_code) == (201, 200, 200)
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    assert [caption["body"] for caption in second.json()["captions"]] == ["one"]
    assert [caption["body"] for caption in third.json()["captions"]] == ["two"]


async def test_many_uploads_of_the_same_picture_at_once_make_one_row(client: Client) -> None:
    files = {"image": ("n.png", picture("navy"), "image/png")}
    answers = await asyncio.gather(*(client.post("/api/images", files=files) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    collections = {row["name"]: row["images"] for row in (await client.get("/api/collections")).json()}
    assert collections["uploads"] == 1


async def test_a_deleted_picture_is_gone_with_its_file_and_vectors(
    client: Client, settings: Settings
) -> None:
    posted = (await client.post("/api/images", files={"image": ("n.png", picture("navy"))})).json()
    await client.get(posted["thumbnail_url"])
    assert (await client.delete(f"/api/images/{posted['id']}")).status_code == 204
    assert is_problem(await client.get(f"/api/images/{posted['id']}"), 404)
    assert is_problem(await client.delete(f"/api/images/{posted['id']}"), 404)
    hits = (await client.get("/api/search", params={"text": "x", "k": 100})).json()["hits"]
    assert posted["id"] not in [hit["id"] for hit in hits]
    left = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert not left


async def test_deleting_a_picture_of_a_folder_leaves_the_users_file(client: Client, folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert (await client.delete(f"/api/images/{await first_id(client)}")).status_code == 204
    assert sorted(folder.iterdir()) == before


async def test_a_thumbnail_is_a_small_jpeg_without_the_originals_metadata(client: Client) -> None:
    original = BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    Image.new("RGB", (1200, 600), "teal").save(original, "JPEG", exif=exif)
    posted = (await client.post("/api/images", files={"image": ("t.jpg", original.getvalue())})).json()
    for _ in range(2):  # made, then kept
        response = await client.get(posted["thumbnail_url"])
        assert response.headers["content-type"] == "image/jpeg"
        thumbnail = Image.open(BytesIO(response.content))
        assert thumbnail.size == (384, 192)
        assert not thumbnail.getexif()


async def test_an_upload_into_a_folder_collection_is_refused(client: Client) -> None:
    response = await client.post(
        "/api/images", data={"collection": "colours"}, files={"image": ("n.png", picture("navy"))}
    )
    assert is_problem(response, 409)


@pytest.mark.parametrize(
    ("data", "file", "status"),
    [
        ({}, None, 422),
        ({}, b"no picture", 422),
        ({"captions": ["a\x00b"]}, picture("navy"), 422),
        ({"attributes": "3"}, picture("navy"), 422),
        ({"attributes": '{"a": "\\u0000"}'}, picture("navy"), 422),
        ({"collection": "a\x00b"}, picture("navy"), 422),
        ({"nonsense": "3"}, picture("navy"), 422),
    ],
)
async def test_a_wrong_upload_is_refused_and_leaves_nothing(
    client: Client, settings: Settings, data: dict[str, str], file: bytes | None, status: int
) -> None:
    response = await client.post("/api/images", data=data, files={"image": ("n.png", file)} if file else None)
    assert response.status_code in (status, 415), response.text
    names = [row["name"] for row in (await client.get("/api/collections")).json()]
    assert names == ["colours"]


async def test_a_missing_file_is_410_and_the_rest_goes_on(client: Client, folder: Path) -> None:
    image = (await client.get(f"/api/images/{await first_id(client)}")).json()
    (folder / image["uri"]).unlink()
    assert is_problem(await client.get(image["image_url"]), 410)
    assert (await client.get("/api/search", params={"text": "x"})).status_code == 200


async def test_a_file_swapped_for_a_link_out_of_the_folder_is_not_served(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    image = (await client.get(f"/api/images/{await first_id(client)}")).json()
    (folder / image["uri"]).unlink()
    (folder / image["uri"]).symlink_to(secret)
    response = await client.get(image["image_url"])
    assert is_problem(response, 410)
    assert "secret" not in response.text.replace("secret.txt", "")


@pytest.mark.parametrize("path", ["../x", "..%2f..%2fetc%2fpasswd", "%00", "x/../../file"])
async def test_paths_lead_nowhere(client: Client, path: str) -> None:
    assert (await client.get(f"/api/images/{path}")).status_code in (404, 400, 422)


async def test_writes_from_elsewhere_need_the_key(service: Service, settings: Settings) -> None:
    async def status(settings: Settings, headers: dict[str, str]) -> int:
        changed = dataclasses.replace(service, settings=settings)
        async with connect(settings, changed) as client:
            files = {"image": ("n.png", picture("navy"))}
            response = await client.post("/api/images", files=files, headers=headers)
            gone = await client.delete(f"/api/images/{await first_id(client)}", headers=headers)
            assert (response.status_code == 401) == (gone.status_code == 401)
            assert (await client.get("/api/search", params={"text": "x"})).status_code == 200
            return response.status_code

    public = settings.replace(host="0.0.0.0")
    keyed = public.replace(write_key="let-me-in")
    assert await status(public, {}) == 401
    assert await status(keyed, {}) == 401
    assert await status(keyed, {"x-api-key": "guess"}) == 401
    assert await status(keyed, {"x-api-key": "let-me-in"}) in (200, 201)


async def test_a_page_of_another_site_cannot_write(client: Client) -> None:
    files = {"image": ("n.png", picture("navy"))}
    response = await client.post("/api/images", files=files, headers={"origin": "http://evil.example"})
    assert is_problem(response, 403)


async def test_collections_encoders_and_health_are_told(client: Client, service: Service) -> None:
    assert (await client.get("/api/collections")).json() == [
        {"name": "colours", "kind": "folder", "images": 8, "encoded": 8}
    ]
    (encoder,) = (await client.get("/api/encoders")).json()
    assert encoder["fingerprint"] == service.encoder.fingerprint
    assert (encoder["state"], encoder["images"]) == ("active", 8)
    assert (await client.get("/livez")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_the_documentation_page_loads_nothing_from_elsewhere(client: Client) -> None:
    page = (await client.get("/schema")).text
    assert "swagger" in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert addresses
    for address in addresses:
        assert address.startswith(("/", "data:")), address
        if address.startswith("/"):
            assert (await client.get(address)).status_code == 200, address


async def test_the_openapi_document_describes_both_kinds_of_body(client: Client) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    content = document["paths"]["/api/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert content["multipart/form-data"]["schema"]["properties"]["image"]["format"] == "binary"
    assert "alpha" in content["application/json"]["schema"]["properties"]
    upload = document["paths"]["/api/images"]["post"]["requestBody"]["content"]
    assert {"image", "captions", "collection", "attributes"} <= set(
        upload["multipart/form-data"]["schema"]["properties"]
    )
