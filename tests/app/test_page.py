"""The page as a browser is served it: its headers, its files, and nothing else."""

import gzip

import httpx
import pytest

from app.routes.page import TYPES, WEB

Client = httpx.AsyncClient


async def test_the_page_is_at_the_root_under_a_strict_policy(client: Client) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.lower().startswith("<!doctype html>")
    assert page.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_every_file_of_the_page_is_served_as_what_it_is(client: Client) -> None:
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert {"index.html", "style.css"} <= {path.name for path in files}
    for path in files:
        assert path.suffix in TYPES, f"{path.name}: a kind of file that the page is not served"
        sent = await client.get(f"/assets/{path.relative_to(WEB)}", headers={"accept-encoding": "identity"})
        assert sent.status_code == 200, path
        assert sent.content == path.read_bytes()
        assert sent.headers["content-type"].partition(";")[0] == TYPES[path.suffix]
        assert "content-encoding" not in sent.headers


async def test_a_file_that_the_browser_has_is_not_sent_again(client: Client) -> None:
    for address in ("/", "/assets/style.css"):
        first = await client.get(address)
        assert first.headers["cache-control"] == "no-cache"
        again = await client.get(address, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = await client.get(address, headers={"if-none-match": '"another"'})
        assert other.status_code == 200


async def test_texts_travel_compressed(client: Client) -> None:
    async with client.stream("GET", "/assets/style.css") as sent:
        raw = b"".join([chunk async for chunk in sent.aiter_raw()])
    assert sent.headers["content-encoding"] == "gzip"
    assert sent.headers["vary"] == "accept-encoding"
    assert int(sent.headers["content-length"]) == len(raw)
    assert gzip.decompress(raw) == (WEB / "style.css").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing.js",
        "../main.py",
        "%2e%2e/main.py",
        "..%2fmain.py",
        "js",
        "/etc/passwd",
        "js/../../cli.py",
    ],
)
async def test_nothing_but_the_page_is_under_assets(client: Client, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_the_api_is_documented_where_it_was(client: Client) -> None:
    assert (await client.get("/schema")).status_code == 200
    paths = (await client.get("/schema/openapi.json")).json()["paths"]
    assert {"/api/search", "/api/ask"} <= set(paths)
    assert "/" not in paths
