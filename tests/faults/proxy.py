"""A TCP proxy before PostgreSQL that does as networks do: is slow, falls silent, and resets connections."""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Self

NEVER_WAIT = struct.pack("ii", 1, 0)
"""SO_LINGER: a connection that is closed is reset, and what was on the way is lost."""


class Proxy:
    """Runs inside its `async with`; each attribute may be changed at any time."""

    def __init__(self, target: Path) -> None:
        """Take the Unix socket to pass everything on to."""
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.delay_s = 0.0
        """Before each piece, either way."""
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.refuses = False
        """New connections are reset."""
        self.reset_after_bytes: int | None = None
        """Of an answer: the connection is then reset in the midst of it."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def url(self, database_url: str) -> str:
        """Return the way through here to a database of the server's."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        database = database_url.partition("?")[0].rpartition("/")[2]
        return f"postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=disable&gssencmode=disable"

    def reset(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            _reset(writer)
            return
        try:
            there, onward = await asyncio.open_unix_connection(str(self._target))
        except OSError:  # it does not run: nobody listens
            _reset(writer)
            return
        self._writers |= {writer, onward}
        for source, target, answers in ((reader, onward, False), (there, writer, True)):
            pump = asyncio.create_task(self._pump(source, target, answers=answers))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                await self.flowing.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if answers and self.reset_after_bytes is not None:
                    target.write(data[: self.reset_after_bytes])
                    await target.drain()
                    _reset(target)
                    break
                target.write(data)
                await target.drain()
        self._writers.discard(target)
        target.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection.family == socket.AF_INET and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NEVER_WAIT)
    writer.transport.abort()
