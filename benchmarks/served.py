"""A service as a user starts it, and a client that costs little: for the benchmarks of load."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from benchmarks.http import ACTIONS, SUBJECTS

Ask = Callable[[int], Awaitable[int]]
"""The number of a question -> the status of its answer."""


@dataclass(frozen=True)
class Served:
    """Where a service listens, and its process."""

    host: str
    port: int
    process: "subprocess.Popen[str]"


@dataclass(frozen=True)
class Outcome:
    """How a request ended, and in how many seconds since it was due."""

    status: int
    seconds: float


def index_folder(model: str, images: Path, data_dir: Path) -> None:
    """Index a folder into the embedded database of this data folder."""
    command = [sys.executable, "-m", "app.cli", "index", str(images), "--model", model]
    subprocess.run(command, env=os.environ | {"IMAGE_RETRIEVAL_DATA_DIR": str(data_dir)}, check=True)


@contextmanager
def service(data_dir: Path, *arguments: str, **settings: object) -> Iterator[Served]:
    """Start `image-retrieval serve` with these settings on a free port; stop it at the end."""
    environment = os.environ | {
        "IMAGE_RETRIEVAL_DATA_DIR": str(data_dir),
        "IMAGE_RETRIEVAL_LOG_LEVEL": "warning",
        **{f"IMAGE_RETRIEVAL_{name.upper()}": str(value) for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0", *arguments],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address = next(found for line in process.stdout if (found := re.search(r"http://([\w.]+):(\d+)", line)))
    try:
        yield Served(address[1], int(address[2]), process)
    finally:
        process.terminate()
        process.wait()


class Client:
    """Asks over kept-alive connections, as many as it takes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the answer; a connection that the service closed is opened anew."""
        while self._idle:
            kept = self._idle.pop()
            try:
                return await self._exchange(kept, request)
            except (asyncio.IncompleteReadError, ConnectionError):
                continue
        return await self._exchange(await self.connect(), request)

    async def _exchange(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
    ) -> tuple[int, bytes]:
        reader, writer = connection
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
            body = await reader.readexactly(length)
        except BaseException:
            writer.transport.abort()
            raise
        self._idle.append(connection)
        return int(head[9:12]), body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that nobody else uses."""
        return await asyncio.open_connection(self._served.host, self._served.port)

    async def search(self, number: int) -> int:
        """Ask a question in words that no other number asks."""
        return (await self.send(get(f"/api/search?k=10&text={quote(words(number))}")))[0]

    def close(self) -> None:
        """Hang up everywhere."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()


@asynccontextmanager
async def client(served: Served) -> AsyncIterator[Client]:
    """Open a client; its connections are closed at the end."""
    asking = Client(served)
    try:
        yield asking
    finally:
        asking.close()


def get(target: str) -> bytes:
    """Return a GET request."""
    return f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def post(target: str, content_type: str, body: bytes) -> bytes:
    """Return a POST request."""
    head = f"POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def words(number: int) -> str:
    """Return an ordinary question, another for each number: none comes from the cache."""
    return f"{SUBJECTS[number % len(SUBJECTS)]} {ACTIONS[number // 8 % len(ACTIONS)]}, picture {number}"


async def in_turn(ask: Ask, *, callers: int, seconds: float, first: int = 0) -> list[Outcome]:
    """Let this many callers ask one question after the other (a closed loop)."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    outcomes: list[Outcome] = []
    numbers = iter(range(first, sys.maxsize))

    async def call() -> None:
        while (started := loop.time()) < ends:
            outcomes.append(Outcome(await ask(next(numbers)), loop.time() - started))

    await asyncio.gather(*(call() for _ in range(callers)))
    return outcomes


async def at_rate(ask: Ask, *, rate: float, seconds: float, first: int = 0) -> list[Outcome]:
    """Ask at a constant rate whether answers come or not (an open loop); times count from when each was due."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def call(number: int, due: float) -> Outcome:
        return Outcome(await ask(number), loop.time() - due)

    calls = []
    for number in range(round(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        calls.append(asyncio.create_task(call(first + number, due)))
    return list(await asyncio.gather(*calls))


def quantile_ms(outcomes: list[Outcome], share: float) -> float:
    """Return a quantile of the times in milliseconds."""
    return 1000 * float(np.quantile([outcome.seconds for outcome in outcomes], share)) if outcomes else 0.0


def having(outcomes: list[Outcome], status: int) -> list[Outcome]:
    """Return those of this status."""
    return [outcome for outcome in outcomes if outcome.status == status]
