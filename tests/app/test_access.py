"""Who may do what over HTTP: keys and scopes, this machine and others, names, and pages of other sites."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar.routes import HTTPRoute

from app.keys import Scope, create_key
from app.main import create_app
from app.routes.access import COOKIE
from app.service import Service
from app.settings import Settings
from tests.app.conftest import connect, picture
from tests.app.test_search_api import is_problem

Client = httpx.AsyncClient

ANYONE = {"/", "/livez", "/readyz"}
"""What needs no key where reads need one; the documentation and the page's own files besides."""

SEARCH = {"text": "a red picture", "k": "1"}


@pytest.fixture
def public(settings: Settings) -> Settings:
    """A service that other machines reach."""
    return settings.replace(host="0.0.0.0")


@pytest.fixture
def closed(public: Settings) -> Settings:
    """One that nobody may even ask without a key."""
    return public.replace(open_reads=False)


@asynccontextmanager
async def elsewhere(settings: Settings, service: Service) -> AsyncIterator[Client]:
    """A client on another machine."""
    async with connect(settings, service, address="203.0.113.9", base_url="http://photos.example") as client:
        yield client


async def make_key(service: Service, scope: Scope, name: str = "") -> str:
    async with service.writing_pool.connection() as connection:
        return (await create_key(connection, name or scope, scope)).key


async def upload(client: Client, key: str | None = None, **headers: str) -> httpx.Response:
    if key is not None:
        headers["x-api-key"] = key
    return await client.post("/api/images", files={"image": ("n.png", picture("navy"))}, headers=headers)


async def ask(client: Client, **headers: str) -> httpx.Response:
    return await client.get("/api/search", params=SEARCH, headers=headers)


async def last_used(service: Service) -> object:
    async with service.writing_pool.connection() as connection:
        row = await (await connection.execute("select last_used_at from api_keys")).fetchone()
        assert row is not None
        return row[0]


async def test_every_scope_holds_those_below_it(service: Service, closed: Settings) -> None:
    keys = {scope: await make_key(service, scope) for scope in ("read", "write", "admin")}
    async with elsewhere(closed, service) as client:
        for scope, key in keys.items():
            assert (await ask(client, **{"x-api-key": key})).status_code == 200
            assert (await upload(client, key)).status_code == (403 if scope == "read" else 201)
            if scope != "read":
                posted = await upload(client, key)
                gone = await client.delete(f"/api/images/{posted.json()['id']}", headers={"x-api-key": key})
                assert gone.status_code == 204


async def test_a_key_of_too_small_a_scope_is_403_and_both_are_named(
    service: Service, public: Settings
) -> None:
    key = await make_key(service, "read")
    async with elsewhere(public, service) as client:
        refused = await upload(client, key)
        assert is_problem(refused, 403)
        assert "write" in refused.json()["detail"]
        assert "read" in refused.json()["detail"]


async def test_no_key_is_401_and_says_how_to_get_one(service: Service, closed: Settings) -> None:
    async with elsewhere(closed, service) as client:
        for refused in (await ask(client), await upload(client)):
            assert is_problem(refused, 401)
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert "image-retrieval keys create" in refused.json()["detail"]


async def test_a_key_goes_in_either_header(service: Service, closed: Settings) -> None:
    key = await make_key(service, "read")
    async with elsewhere(closed, service) as client:
        assert (await ask(client, **{"x-api-key": key})).status_code == 200
        assert (await ask(client, authorization=f"Bearer {key}")).status_code == 200
        assert (await ask(client, authorization=f"bearer  {key} ")).status_code == 200
        assert (await ask(client, authorization=f"Basic {key}")).status_code == 401
        assert (await client.get("/api/search", params={**SEARCH, "x-api-key": key})).status_code == 401


@pytest.mark.parametrize(
    "key", ["x", "irk_00000000_" + "0" * 64, "irk_" + "é" * 10, "' or 1=1 --", "a" * 10_000]
)
async def test_a_key_that_is_not_good_is_401_wherever_it_is_sent(
    service: Service, public: Settings, closed: Settings, key: str
) -> None:
    for settings in (public, closed):
        async with elsewhere(settings, service) as client:
            for value in (key.encode(), f"Bearer {key}".encode()):
                name = "authorization" if value.startswith(b"Bearer") else "x-api-key"
                refused = await client.get("/api/search", params=SEARCH, headers={name: value})
                assert is_problem(refused, 401)


async def test_the_secret_is_what_counts_not_the_id(service: Service, closed: Settings) -> None:
    key = await make_key(service, "read")
    async with elsewhere(closed, service) as client:
        for forged in (key[:-1] + ("0" if key[-1] != "0" else "1"), key[:13] + "0" * 64, key[:12]):
            assert (await ask(client, **{"x-api-key": forged})).status_code == 401


async def test_a_revoked_key_is_refused_at_once(service: Service, closed: Settings) -> None:
    key = await make_key(service, "read")
    async with elsewhere(closed, service) as client:
        assert (await ask(client, **{"x-api-key": key})).status_code == 200
        async with service.writing_pool.connection() as connection:
            await connection.execute("update api_keys set revoked_at = now()")
        assert (await ask(client, **{"x-api-key": key})).status_code == 401


async def test_keys_are_compared_in_constant_time(
    service: Service, closed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    digest = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return digest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key = await make_key(service, "read")
    async with elsewhere(closed.replace(write_key="let-me-in"), service) as client:
        assert (await ask(client, **{"x-api-key": key})).status_code == 200
    assert [len(one) for one, _ in compared] == [len(key), 32]  # the write key, then the hash


async def test_use_is_noted_once_a_minute(service: Service, closed: Settings) -> None:
    key = await make_key(service, "read")
    assert await last_used(service) is None
    async with elsewhere(closed, service) as client:
        await ask(client, **{"x-api-key": key})
        first = await last_used(service)
        assert first is not None
        await ask(client, **{"x-api-key": key})
        assert await last_used(service) == first
        async with service.writing_pool.connection() as connection:
            await connection.execute("update api_keys set last_used_at = now() - interval '2 minutes'")
        old = await last_used(service)
        await ask(client, **{"x-api-key": key})
        assert await last_used(service) != old


async def test_the_key_itself_is_nowhere_in_the_database(service: Service) -> None:
    key = await make_key(service, "admin")
    secret = key.rpartition("_")[2]
    async with service.writing_pool.connection() as connection:
        row = await (await connection.execute("select api_keys::text from api_keys")).fetchone()
    assert row is not None
    assert secret not in row[0]
    assert bytes.fromhex(secret).hex() not in row[0]


async def test_every_route_is_closed_when_reads_are(service: Service, closed: Settings) -> None:
    app = create_app(closed)
    asked = 0
    async with elsewhere(closed, service) as client:
        for route in app.routes:
            if not isinstance(route, HTTPRoute):
                continue
            path = (
                "/".join(
                    "01234567-89ab-8def-8123-456789abcdef"
                    if isinstance(part, dict) or ":" in str(part)
                    else str(part)
                    for part in route.path.split("/")
                )
                .replace("{", "")
                .replace("}", "")
            )
            for method in route.methods - {"OPTIONS"}:
                status = (await client.request(method, path)).status_code
                if path in ANYONE or path.startswith(("/schema", "/assets")):
                    assert status != 401, (method, path)
                elif (method, path) == ("DELETE", "/api/session"):
                    assert status == 204
                else:
                    assert status == 401, (method, path)
                    asked += 1
    assert asked >= 12


async def test_anyone_may_read_unless_that_is_closed(service: Service, public: Settings) -> None:
    async with elsewhere(public, service) as client:
        assert (await ask(client)).status_code == 200
        assert (await client.get("/api/collections")).status_code == 200


async def test_closed_reads_are_closed_to_this_machine_too(service: Service, settings: Settings) -> None:
    async with connect(settings.replace(open_reads=False), service) as client:
        assert (await ask(client)).status_code == 401


async def test_this_machine_writes_without_a_key_until_the_settings_say_otherwise(
    service: Service, settings: Settings, public: Settings
) -> None:
    async with connect(settings, service) as client:
        assert (await upload(client)).status_code == 201
    for changed in (settings.replace(write_key="let-me-in"), settings.replace(loopback_writes=False), public):
        async with connect(changed, service) as client:
            assert (await upload(client)).status_code == 401
    async with connect(settings.replace(write_key="let-me-in"), service) as client:
        assert (await upload(client, "let-me-in")).status_code == 200
    async with connect(settings, service, address="203.0.113.9") as client:  # a proxy said who it was for
        assert (await upload(client)).status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"])
async def test_what_a_proxy_brings_is_not_this_machines(client: Client, header: str) -> None:
    assert is_problem(await upload(client, **{header: "127.0.0.1"}), 401)
    assert (await client.get("/api/status", headers={header: "127.0.0.1"})).json()["writes"] == "key"
    assert (await client.get("/api/status")).json()["writes"] == "open"


async def test_a_page_of_another_site_cannot_write_without_a_key(
    service: Service, settings: Settings
) -> None:
    async with connect(settings, service) as client:
        assert is_problem(await upload(client, origin="http://evil.example"), 403)
        assert is_problem(await upload(client, origin="null"), 403)
        assert is_problem(await upload(client, origin="http://127.0.0.1:3000"), 403)
        assert (await upload(client, origin="http://127.0.0.1")).status_code == 201
    listed = settings.replace(allowed_origins=("https://photos.example",))
    async with connect(listed, service) as client:
        assert (await upload(client, origin="https://photos.example")).status_code == 200
        assert is_problem(await upload(client, origin="https://photos.example.evil.example"), 403)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:8000", 200),
        ("gallery.localhost:8000", 200),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_a_service_of_this_machine_answers_to_its_names_alone(
    service: Service, settings: Settings, host: str, status: int
) -> None:
    async with connect(settings, service) as client:
        answer = await ask(client, host=host)
        assert answer.status_code == status
        if status == 421:
            assert is_problem(answer, 421)
            assert is_problem(await upload(client, host=host), 421)
            assert (await client.get("/livez", headers={"host": host})).status_code == 421


async def test_listed_names_are_known(service: Service, settings: Settings, public: Settings) -> None:
    names = ("photos.example",)
    async with connect(settings.replace(allowed_hosts=names), service) as client:
        assert (await ask(client, host="photos.example:443")).status_code == 200
        assert (await ask(client, host="localhost")).status_code == 200
        assert (await ask(client, host="evil.example")).status_code == 421
    async with elsewhere(public.replace(allowed_hosts=names), service) as client:
        assert (await ask(client)).status_code == 200
        assert (await ask(client, host="203.0.113.1")).status_code == 421


async def test_no_other_site_reads_an_answer_unless_it_is_listed(
    service: Service, settings: Settings
) -> None:
    origin = "https://photos.example"
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    async with connect(settings, service) as client:
        assert "access-control-allow-origin" not in (await ask(client, origin=origin)).headers
        asked = await client.options("/api/search", headers=preflight)
        assert "access-control-allow-origin" not in asked.headers
    async with connect(settings.replace(allowed_origins=(origin,)), service) as client:
        answer = await ask(client, origin=origin)
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        asked = await client.options("/api/search", headers=preflight)
        assert asked.headers["access-control-allow-origin"] == origin
        assert "x-api-key" in asked.headers["access-control-allow-headers"].lower()
        for other in ("https://evil.example", "http://photos.example", "https://photos.example.evil.example"):
            assert "access-control-allow-origin" not in (await ask(client, origin=other)).headers


async def test_the_page_keeps_a_readers_key_in_a_cookie(service: Service, closed: Settings) -> None:
    reader, writer = await make_key(service, "read"), await make_key(service, "write")
    async with elsewhere(closed, service) as client:
        assert is_problem(await client.post("/api/session"), 401)
        assert is_problem(await client.post("/api/session", headers={"x-api-key": "guess"}), 401)
        assert not client.cookies
        for key in (reader, writer):
            begun = await client.post("/api/session", headers={"x-api-key": key})
            assert begun.status_code == 204
            attributes = {part.strip().lower() for part in begun.headers["set-cookie"].split(";")}
            assert {"httponly", "samesite=strict", "path=/api"} <= attributes
            assert (await ask(client)).status_code == 200
            assert is_problem(await upload(client), 401)  # for reading alone, whosever it is
        assert (await client.delete("/api/session")).status_code == 204
        assert not client.cookies.get(COOKIE)
        assert (await ask(client)).status_code == 401
    async with connect(closed, service, address="203.0.113.9", base_url="https://photos.example") as client:
        begun = await client.post("/api/session", headers={"x-api-key": reader})
        assert "secure" in begun.headers["set-cookie"].lower()


async def test_a_refused_upload_is_refused_before_its_body_is_read(
    service: Service, public: Settings
) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 1000

    async with elsewhere(public, service) as client:
        refused = await client.post(
            "/api/images", content=body(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
    assert refused.status_code == 401
    assert read < 100
