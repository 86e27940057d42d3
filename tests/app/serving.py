"""A real uvicorn on a real socket in the test's event loop, a plain-socket client, an encoder that waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.server import GracefulServer, make_server
from app.service import Service
from app.settings import Settings
from tests.encoders import FakeEncoder


class HeldEncoder(FakeEncoder):
    """A FakeEncoder that can be held in the midst of a forward pass, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()
        self.texts: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        assert self.free.wait(20)
        return super().encode_texts(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        assert self.free.wait(20)
        return super().encode_images(images)


@dataclass
class Served:
    """A server that runs, and where."""

    server: GracefulServer
    port: int
    wires: "list[Wire]" = field(default_factory=list)

    async def connect(self) -> "Wire":
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        self.wires.append(wire)
        return wire

    async def get(self, target: str, *headers: str) -> "Answer":
        wire = await self.connect()
        wire.send(
            f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            + "".join(h + "\r\n" for h in headers)
        )
        wire.send("\r\n")
        return await wire.answer()


@dataclass
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


@dataclass
class Wire:
    """One connection, spoken to by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def answer(self, timeout_s: float = 20) -> Answer:
        async with asyncio.timeout(timeout_s):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:-2])}
            if "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
            return Answer(int(lines[0].split()[1]), headers, body)

    async def closed(self, timeout_s: float = 20) -> bytes:
        """Return what still comes until the other side closes."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def leave(self) -> None:
        """Hang up at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def serving(settings: Settings, service: Service) -> AsyncIterator[Served]:
    """Serve as `image-retrieval serve` does, on a free port."""
    server = make_server(settings.replace(port=0), service)
    running = asyncio.create_task(server._serve())
    while not server.started:
        assert not running.done(), running.exception()
        await asyncio.sleep(0.01)
    served = Served(server, server.servers[0].sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        for wire in served.wires:
            wire.leave()
        server.should_exit = True
        await asyncio.wait_for(running, 20)


async def until(condition: object, timeout_s: float = 5) -> None:
    """Wait for what a function says to become true."""
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
