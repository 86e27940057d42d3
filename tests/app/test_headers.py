"""What every answer says besides itself."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest

from app.service import Service
from app.settings import Settings
from tests.app.conftest import connect
from tests.app.test_images_api import first_id

MISSING = "/api/images/01234567-89ab-8def-8123-456789abcdef"


async def answers(client: httpx.AsyncClient) -> list[httpx.Response]:
    image = f"/api/images/{await first_id(client)}"
    asked = [
        client.get(path)
        for path in (
            "/api/search?text=red", "/api/search", "/api/collections", image, f"{image}/file",
            f"{image}/thumbnail", MISSING, "/nowhere", "/schema", "/schema/openapi.json",
            "/schema/assets/swagger-ui.css", "/livez", "/readyz",
        )
    ]  # fmt: skip
    return [
        *[await each for each in asked],
        await client.post("/api/search", content=b"{", headers={"content-type": "application/json"}),
        await client.post(
            "/api/search", content=b" " * 1_100_000, headers={"content-type": "application/json"}
        ),
        await client.put("/api/search"),
        await client.get("/api/search", headers={"host": "evil.example"}),
        await client.get("/api/search", headers={"x-api-key": "guess"}),
    ]


async def test_every_answer_is_what_it_says_and_loads_nothing(client: httpx.AsyncClient) -> None:
    seen = await answers(client)
    assert {response.status_code for response in seen} >= {200, 401, 404, 405, 413, 421, 422}
    for response in seen:
        headers = response.headers
        assert headers["x-content-type-options"] == "nosniff", response.url
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'"), response.url
        assert "server" not in headers


async def test_what_the_api_answers_may_never_run(client: httpx.AsyncClient) -> None:
    for response in await answers(client):
        if response.headers.get("content-type", "").startswith("text/html"):
            continue
        policy = response.headers["content-security-policy"]
        assert "script-src" not in policy
        assert "unsafe" not in policy


async def test_the_documentation_runs_its_own_scripts_alone(client: httpx.AsyncClient) -> None:
    page = await client.get("/schema")
    policy = page.headers["content-security-policy"]
    (script_policy,) = re.findall(r"script-src ([^;]+)", policy)
    assert "unsafe" not in script_policy
    inline = re.findall(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", page.text, flags=re.DOTALL)
    assert inline
    for script in inline:
        assert b64encode(sha256(script.encode()).digest()).decode() in script_policy
    assert not re.search(r"\son\w+=", page.text)


async def test_pictures_may_stand_in_pages_of_listed_sites_alone(
    service: Service, settings: Settings
) -> None:
    async with connect(settings.replace(allowed_origins=("https://photos.example",)), service) as client:
        image = await client.get(f"/api/images/{await first_id(client)}/thumbnail")
        assert image.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize(
    "origins", ["*", "https://*.example", "photos.example", "null", "https://a.example/x"]
)
def test_origins_are_listed_by_name(origins: str) -> None:
    from app.errors import SettingsError

    with pytest.raises(SettingsError, match="IMAGE_RETRIEVAL_ALLOWED_ORIGINS"):
        Settings.from_env({"IMAGE_RETRIEVAL_ALLOWED_ORIGINS": origins})


def test_lists_are_read_from_the_environment() -> None:
    read = Settings.from_env(
        {
            "IMAGE_RETRIEVAL_ALLOWED_ORIGINS": "https://a.example, http://b.example:8080/ ,",
            "IMAGE_RETRIEVAL_ALLOWED_HOSTS": "Photos.example",
        }
    )
    assert read.allowed_origins == ("https://a.example", "http://b.example:8080")
    assert read.allowed_hosts == ("photos.example",)
