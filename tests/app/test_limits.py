"""What is too much, too deep, too many or packed: each has its 4xx, at once, and costs little."""

import gzip
import json
import resource
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.limits import MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_DEPTH, MAX_ATTRIBUTE_VALUES, MAX_PARTS
from tests.app.conftest import picture
from tests.app.test_search_api import is_problem

Client = httpx.AsyncClient
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    assert isinstance(value, dict)
    return value


def part(name: str, body: bytes, headers: bytes = b"") -> bytes:
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n'.encode()
    return head + headers + b"\r\n" + body + b"\r\n"


async def post(
    client: Client, body: bytes, headers: dict[str, str], path: str = "/api/search"
) -> httpx.Response:
    return await client.post(path, content=body, headers=headers)


async def test_a_body_without_a_length_is_cut_off_at_the_limit(client: Client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100_000
            yield b" " * 100_000

    for path, headers in (("/api/search", JSON), ("/api/search", MULTIPART), ("/api/images", MULTIPART)):
        sent = 0
        refused = await client.post(path, content=endless(), headers=headers)
        assert is_problem(refused, 413), path
        assert sent <= 1_300_000  # the limit of these tests is 1 MB


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "GZIP, identity"])
async def test_a_compressed_body_is_415_and_stays_packed(client: Client, encoding: str) -> None:
    bomb = gzip.compress(b'{"text": "' + b"x" * 10_000_000 + b'"}')
    for path in ("/api/search", "/api/images"):
        refused = await post(client, bomb, JSON | {"content-encoding": encoding}, path)
        assert is_problem(refused, 415)
        assert refused.headers["accept-encoding"] == "identity"
    asked = await post(client, b'{"text": "red"}', JSON | {"content-encoding": "identity"})
    assert asked.status_code == 200


async def test_more_parts_than_any_form_has_are_413(client: Client) -> None:
    many = b"".join(part("captions", b"x") for _ in range(MAX_PARTS + 1)) + b"--b--\r\n"
    for path in ("/api/search", "/api/images"):
        refused = await post(client, many, MULTIPART, path)
        assert is_problem(refused, 413)
        assert str(MAX_PARTS) in refused.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [b"x-long: " + b"x" * 100_000 + b"\r\n", b"".join(b"x-%d: 1\r\n" % i for i in range(1000))],
    ids=["long", "many"],
)
async def test_huge_part_headers_are_413(client: Client, headers: bytes) -> None:
    body = part("text", b"red", headers) + b"--b--\r\n"
    assert is_problem(await post(client, body, MULTIPART), 413)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (part("text", b"\xff\xfe") + b"--b--\r\n", MULTIPART),
        (part("text", b"x", b"content-type: text/plain; charset=nonsense\r\n") + b"--b--\r\n", MULTIPART),
        (b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", MULTIPART),
        (part("text", b"red"), MULTIPART),
        (b"", MULTIPART),
        (b"", {"content-type": "multipart/form-data"}),
        (b"x", {"content-type": "multipart/form-data; boundary="}),
        (b"x", {"content-type": 'multipart/form-data; boundary="' + "x" * 5000 + '"'}),
        (b"\xff=%ff&%zz", FORM),
        (b"text=%00", FORM),
    ],
)
async def test_a_form_that_is_none_is_a_4xx_and_says_so(
    client: Client, body: bytes, headers: dict[str, str]
) -> None:
    refused = await post(client, body, headers)
    assert refused.status_code in (400, 413, 422), refused.text
    assert is_problem(refused, refused.status_code)


async def test_an_urlencoded_form_of_many_fields_is_413_before_it_is_parsed(client: Client) -> None:
    assert is_problem(await post(client, b"text=red" + b"&a" * 400_000, FORM), 413)


async def test_json_of_many_values_is_413_before_it_is_parsed(client: Client) -> None:
    body = b'{"attributes": {"a": [' + b"[]," * 300_000 + b"[]]}}"
    tracemalloc.start()
    try:
        assert is_problem(await post(client, body, JSON), 413)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)  # parsed, it is some 60 MB


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_json_nested_without_end_is_422(client: Client, opening: bytes) -> None:
    deep = opening * 50_000
    assert is_problem(await post(client, b'{"attributes": ' + deep, JSON), 422)
    params = {"text": "x", "attributes": (opening * 5_000).decode()}
    assert is_problem(await client.get("/api/search", params=params), 422)
    posted = await client.post(
        "/api/images", data={"attributes": deep.decode()}, files={"image": ("n.png", picture("navy"))}
    )
    assert is_problem(posted, 422)
    for path in ("/api/ask", "/api/images/zip"):
        for name in (b"ids", b"terms", b"nonsense", b"attributes"):
            refused = await post(client, b'{"' + name + b'": ' + deep, JSON, path)
            assert is_problem(refused, 422), (path, name)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (nested(MAX_ATTRIBUTE_DEPTH + 1), "deep"),
        ({"a": list(range(MAX_ATTRIBUTE_VALUES + 1))}, "values"),
        ({str(i): 1 for i in range(MAX_ATTRIBUTE_VALUES + 1)}, "values"),
        ({"a": "x" * MAX_ATTRIBUTE_BYTES}, "bytes"),
        ({"x" * MAX_ATTRIBUTE_BYTES: 1}, "bytes"),
    ],
)
async def test_attributes_have_limits_wherever_they_come(
    client: Client, attributes: dict[str, Any], said: str
) -> None:
    as_text = json.dumps(attributes)
    first = (await client.get("/api/search", params={"text": "x"})).json()["hits"][0]["id"]
    answers = [
        await client.get("/api/search", params={"text": "x", "attributes": as_text}),
        await client.get(f"/api/images/{first}/similar", params={"attributes": as_text}),
        await client.post("/api/search", json={"text": "x", "attributes": attributes}),
        await client.post("/api/search", data={"text": "x", "attributes": as_text}),
        await client.post(
            "/api/images", data={"attributes": as_text}, files={"image": ("n.png", picture("navy"))}
        ),
    ]
    for refused in answers:
        assert is_problem(refused, 422)
        assert said in refused.json()["detail"]


async def test_attributes_within_the_limits_are_taken(client: Client) -> None:
    attributes = nested(MAX_ATTRIBUTE_DEPTH) | {"tags": ["x"] * 900, "note": "y" * 10_000}
    posted = await client.post(
        "/api/images",
        data={"attributes": json.dumps(attributes)},
        files={"image": ("n.png", picture("navy"))},
    )
    assert posted.status_code == 201, posted.text
    asked = {"text": "x", "attributes": attributes}
    hits = (await client.post("/api/search", json=asked)).json()["hits"]
    assert [hit["id"] for hit in hits] == [posted.json()["id"]]


async def test_a_collection_of_an_endless_name_is_422(client: Client) -> None:
    assert is_problem(await client.post("/api/search", json={"text": "x", "collection": "x" * 1001}), 422)
    files = {"image": ("n.png", picture("navy"))}
    assert is_problem(await client.post("/api/images", data={"collection": "x" * 201}, files=files), 422)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


async def test_a_picture_of_too_many_pixels_is_413_without_their_memory(client: Client) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in ("/api/search", "/api/images"):
        refused = await client.post(path, files={"image": ("bomb.png", bomb(20_000, 20_000))})
        assert is_problem(refused, 413)
        assert "bomb.png" in refused.json()["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize(
    ("attributes", "refused"),
    [({"a": "x\0"}, True), ({"a\0": 1}, True), ({"a": ["\\\0"]}, True), ({"a": "\\u0000"}, False)],
)
async def test_attributes_with_a_nul_are_refused_and_those_that_only_look_so_are_not(
    client: httpx.AsyncClient, attributes: dict[str, object], refused: bool
) -> None:
    answer = await client.post("/api/search", json={"text": "red", "attributes": attributes})
    assert answer.status_code == (422 if refused else 200), answer.text
    assert not refused or "NUL" in answer.json()["detail"]
