"""Any text in any field of any address is answered or refused, and never the service's fault."""

import json
import unicodedata
from typing import Any
from urllib.parse import quote

import httpx

from tests.app.conftest import picture

Client = httpx.AsyncClient
TEXTS = {
    "nothing": "",
    "blank": " \t\n ",
    "a NUL": "red\x00",
    "half a pair": "\ud800",
    "a pair the wrong way round": "\udc00\ud800",
    "no characters": "\ufffe\uffff\U0010ffff",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85",
    "composed": unicodedata.normalize("NFC", "Đường phố"),
    "decomposed": unicodedata.normalize("NFD", "Đường phố"),
    "without its accents": "duong pho",
    "right to left": "\u202eשלום\u2066 سلام",
    "joined": "👨‍👩‍👧‍👦" * 50,
    "a thousand accents": "e" + "\u0301" * 1000,
    "SQL": "'; drop table image_retrieval.images; --",
    "a pattern": "%_\\' || pg_sleep(9) || '",
    "HTML": '"><img src=x onerror=alert(1)><script>alert(1)</script>',
    "templates": "{{7*7}} ${jndi:ldap://x} %(x)s {0.__class__} $1",
    "a path": "../../../../etc/passwd\\..\\..",
    "JSON": '{"a": [[[[]]]], "__proto__": 1}',
    "a number": "1e999999999",
    "a megabyte": "x" * 1_000_000,
    "ten thousand words": "word " * 10_000,
}
ANSWERS = (200, 201, 404, 405, 413, 415, 422)


def spelled(text: str) -> str:
    """Return a text as it stands in an address, half characters and all; httpx writes none beyond 64 kB."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")[:30_000]


def form(fields: list[tuple[str, str]], file: bytes | None = None, name: str = "x.png") -> bytes:
    """Return a multipart form, its boundary b."""
    parts = [
        f'name="{field}"\r\n\r\n'.encode() + said.encode("utf-8", "surrogatepass") for field, said in fields
    ]
    if file is not None:
        head = f'name="image"; filename="{name}"\r\ncontent-type: image/png\r\n\r\n'
        parts.append(head.encode("utf-8", "surrogatepass") + file)
    body = b"".join(b"--b\r\ncontent-disposition: form-data; " + part + b"\r\n" for part in parts)
    return body + b"--b--\r\n"


async def test_any_text_in_any_field_is_answered_or_refused(client: Client) -> None:
    first = (await client.get("/api/search?text=red")).json()["hits"][0]["id"]
    for text in TEXTS.values():
        await put_everywhere(client, text, f"/api/images/{first}")
    again = await client.get("/api/search?text=red")
    assert again.status_code == 200
    assert (await client.get("/api/facets")).status_code == 200


async def put_everywhere(client: Client, text: str, there: str) -> None:
    """Send a text in each field of each address in turn."""
    for address in (
        *(f"/api/search?text=red&{name}={spelled(text)}" for name in ("collection", "attributes", "exclude")),
        *(f"/api/search?text=red&{name}={spelled(text)}" for name in ("taken_from", "taken_to", "sort", "k")),
        *(f"/api/search?{name}={spelled(text)}" for name in ("text", "image_id", text and spelled(text))),
        *(f"{there}/similar?{name}={spelled(text)}" for name in ("collection", "attributes")),
        f"/api/facets?collection={spelled(text)}",
        f"/api/images/{spelled(text)[:2000]}",
        f"/{spelled(text)[:2000]}",
        f"/assets/{spelled(text)[:2000]}",
        f"/schema/assets/{spelled(text)[:2000]}",
    ):
        require_sane(await client.get(address), address)
    for body in (
        *({"text": "red", name: text} for name in ("collection", "taken_from", "sort", "k", "exact", text)),
        {"text": text},
        {"image": text},
        {"image_id": text},
        {"text": "red", "attributes": {"a": text}},
        {"text": "red", "attributes": {text: 1}},
        {"text": "red", "exclude": [text]},
        *({"terms": [{name: text}]} for name in ("text", "image", "image_id", "embedding", text)),
        {"text": "red", "language": text},
    ):
        for address in ("/api/search", "/api/ask"):
            sent = await client.post(
                address, content=json.dumps(body), headers={"content-type": "application/json"}
            )
            require_sane(sent, body)
    require_sane(await client.post("/api/images/zip", json={"ids": [spelled(text)]}), "zip")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for fields, file in (
        ([("text", text)], None),
        ([("text", "red"), ("collection", text), ("attributes", text)], None),
        ([(spelled(text)[:50], text)], None),
        ([("captions", text), ("captions", text)], picture("navy")),
        ([("collection", text)], picture("navy")),
        ([("attributes", json.dumps({"a": text, text: 1}))], picture("navy")),
        ([("attributes", text)], picture("navy")),
    ):
        for address in ("/api/search", "/api/images", "/api/predict-image"):
            name = "".join(c for c in text[:200] if c not in '"\r\n')
            sent = await client.post(address, content=form(fields, file, name), headers=headers)
            require_sane(sent, (address, fields))


def require_sane(answer: httpx.Response, asked: Any) -> None:
    assert answer.status_code in ANSWERS, (answer.status_code, str(asked)[:200], answer.text[:500])
    assert "event: error" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json()["detail"]
