"""Whatever a client sends, the service opens no connection and no file for it."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.conftest import picture
from tests.app.test_images_api import first_id

Client = httpx.AsyncClient


class Listener:
    """A server at a port of this machine that notes who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.callers = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self.socket.accept()
            except OSError:
                return
            self.callers += 1
            caller.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Somebody who would notice being asked."""
    listener = Listener()
    yield listener
    listener.socket.close()


def addresses(port: int, secret: Path) -> list[str]:
    place = f"127.0.0.1:{port}"
    return [
        f"http://{place}/x.png",
        f"HTTP://{place}/x.png",
        f" http://{place}/x.png",
        f"//{place}/x.png",
        f"ftp://{place}/x.png",
        f"data:text/uri-list,http://{place}/x.png",
        f"data:image/png;base64,http://{place}/x.png",
        f"blob:http://{place}/x",
        f"file://{secret}",
        str(secret),
        f"../../../../../../../..{secret}",
        f"\\\\{place}\\x.png",
    ]


async def test_an_address_is_never_visited_wherever_it_stands(
    client: Client, listener: Listener, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture("red"))
    found = await first_id(client)
    for address in addresses(listener.port, secret):
        encoded = base64.b64encode(address.encode()).decode()
        bodies: list[dict[str, object]] = [
            {"image": address},
            {"image": encoded},
            {"image": f"data:image/png;base64,{encoded}"},
            {"image_id": address},
            {"text": address},
            {"text": "x", "collection": address},
            {"text": "x", "attributes": {"url": address}},
            {"terms": [{"image": address}]},
            {"terms": [{"image": encoded}]},
        ]
        for body in bodies:
            answer = await client.post("/api/search", json=body)
            assert answer.status_code == (200 if "text" in body else 422), (body, answer.text)
        forms: list[tuple[dict[str, str], bytes]] = [
            ({}, address.encode()),
            ({"captions": address, "attributes": json.dumps({"url": address})}, picture("navy")),
        ]
        for fields, data in forms:
            files = {"image": (address, data, "image/png")}
            posted = await client.post("/api/images", data=fields, files=files)
            assert posted.status_code in (200, 201, 422), posted.text
        await client.post("/api/predict-image", data={"query": address, "file": address})
        await client.get("/api/search", params={"text": address, "image_id": address})
        headers = {"referer": address, "x-forwarded-host": address.strip(), "origin": "http://127.0.0.1"}
        assert (await client.get(f"/api/images/{found}", headers=headers)).status_code == 200
    assert listener.callers == 0


async def test_a_picture_that_links_elsewhere_is_refused_or_not_followed(
    client: Client, listener: Listener
) -> None:
    place = f"http://127.0.0.1:{listener.port}/x"
    for data in (
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{place}"/></svg>'.encode(),
        f'<!DOCTYPE x [<!ENTITY y SYSTEM "{place}">]><svg>&y;</svg>'.encode(),
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({place}) run\n".encode(),
        f"%PDF-1.4\n<< /URI ({place}) >>".encode(),
        f"push graphic-context\nfill 'url({place})'".encode(),
        f"#EXTM3U\n{place}\n".encode(),
    ):
        for path in ("/api/search", "/api/images"):
            refused = await client.post(path, files={"image": ("x.png", data, "image/svg+xml")})
            assert refused.status_code == 422
    assert listener.callers == 0


@pytest.mark.parametrize(
    "path",
    [
        "/api/images/{secret}/file",
        "/api/images/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd/file",
        "/api/images/%2e%2e/%2e%2e/etc/passwd",
        "/api/images/....//....//etc/passwd/file",
        "/api/images/%00/file",
        "/api/images/{id}%00.png/file",
        "/api/images/{id}/file/../../../../etc/passwd",
        "/schema/assets/../../../../etc/passwd",
        "/schema/assets/%2e%2e/%2e%2e/%2e%2e/__init__.py",
        "/schema/assets//etc/passwd",
        "/assets/../settings.py",
        "/assets/%2e%2e/settings.py",
        "/assets/..%5csettings.py",
        "//etc/passwd",
    ],
)
async def test_no_path_leads_to_a_file(client: Client, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0 IMAGE_RETRIEVAL_")
    path = path.replace("{secret}", str(secret).replace("/", "%2f")).replace("{id}", await first_id(client))
    answer = await client.request("GET", httpx.URL(f"http://127.0.0.1{path}"))
    assert answer.status_code in (400, 404, 422), answer.text
    assert "root:" not in answer.text
    assert "IMAGE_RETRIEVAL_" not in answer.text
