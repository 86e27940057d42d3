"""Our own steps, counted as they come, one of which fails: reading, decoding, encoding, writing, SQL."""

import errno
import os
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import indexing, uploads
from db.connection import Connection
from embedding.errors import EncoderOutOfMemoryError
from tests.encoders import FakeEncoder


class Steps:
    """Counts each kind of step; the one that is to fail does so once, each other time it is as ever."""

    def __init__(self, chance: random.Random) -> None:
        """Take what chooses how a step fails."""
        self._chance = chance
        self._lock = threading.Lock()
        self._doomed: tuple[str, int] | None = None
        self.counts: Counter[str] = Counter()
        self.failed: str | None = None
        """How the step failed, if its turn has come."""

    def begin(self, doomed: tuple[str, int] | None = None) -> None:
        """Count from 0 again; (kind, n): the n-th of this kind, from 0, fails."""
        self.counts.clear()
        self._doomed, self.failed = doomed, None

    def fails(self, kind: str, *ways: Exception) -> Exception | None:
        """Count a step; return what it shall raise, if it is the one."""
        with self._lock:
            turn = (kind, self.counts[kind])
            self.counts[kind] += 1
            if turn != self._doomed:
                return None
            error = self._chance.choice(ways)
            self.failed = f"{kind} {turn[1]}: {error!r}"
            return error

    def watch(self, patch: pytest.MonkeyPatch, encoder: type[FakeEncoder]) -> None:
        """Put a counter before every step; one thread decodes, so that they come in the same order."""
        patch.setattr(indexing, "_usable_cores", lambda: 1)
        patch.setattr(indexing, "GROUP_SIZE", 16)
        self._guard(patch, indexing._Run, "_read", "read", OSError(errno.EIO, "Input/output error"))
        for module in (indexing, uploads):
            self._guard(patch, module, "read_picture", "decode", MemoryError())
        self._guard(
            patch, encoder, "encode_images", "encode",
            EncoderOutOfMemoryError("the device is full"), MemoryError(),
        )  # fmt: skip
        full, broken = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")
        for owner, name in ((tempfile, "mkstemp"), (os, "fsync"), (Path, "replace"), (Path, "unlink")):
            self._guard(patch, owner, name, "file", full, broken)
        patch.setattr(Connection, "wait", self._waiting(Connection.wait), raising=False)

    def _guard(self, patch: pytest.MonkeyPatch, owner: Any, name: str, kind: str, *ways: Exception) -> None:
        real = getattr(owner, name)

        def step(*arguments: Any, **options: Any) -> Any:
            if error := self.fails(kind, *ways):
                raise error
            return real(*arguments, **options)

        patch.setattr(owner, name, step)

    def _waiting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Every exchange with the server passes here: statements, COPY, BEGIN, COMMIT."""
        lost = psycopg.OperationalError("the connection is lost")
        too_late = psycopg.OperationalError("the connection is lost after the server did it")
        full = psycopg.errors.DiskFull("could not extend file: No space left on device")

        async def wait(connection: Connection, exchange: Any, **options: Any) -> Any:
            # what begins or ends a transaction needs no room, and psycopg must see how it went
            needs_room = exchange.gi_code.co_name not in ("_enter_gen", "_exit_gen")
            error = self.fails("sql", lost, too_late, *([full] if needs_room else []))
            if error is too_late:
                await real(connection, exchange, **options)
            if error in (lost, too_late):
                await connection.close()
            if error:
                raise error
            return await real(connection, exchange, **options)

        return wait


class StepEncoder(FakeEncoder):
    """A FakeEncoder of its own class, so that counting its steps counts nobody else's."""

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[Any]:
        return super().encode_images(images)
