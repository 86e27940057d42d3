"""A running service follows the gallery from one encoder to the next, without a question lost.

The service that answers is immutable; a switch puts another in its place, which shares everything with it
but the encoder and the encoder's queues. Whoever began with the old one ends with it, or is told by the
database that its vectors are another encoder's (EncoderMismatchError) and asks again with the new one.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import TYPE_CHECKING

import psycopg
import psycopg_pool

from db.connection import Pool
from db.encoders import announced_encoder
from db.gallery import EncoderRow, active_encoder
from embedding.encoder import Encoder
from embedding.errors import EmbeddingError

if TYPE_CHECKING:
    from app.service import Service

LOOK_EVERY_S = 2.0

logger = logging.getLogger(__name__)


class EncoderSwitch:
    """Knows which service answers, and has those of other encoders ready that may have to."""

    def __init__(
        self,
        pool: Pool,
        *,
        load: Callable[[EncoderRow], Encoder],
        answering: Callable[[Encoder], AbstractAsyncContextManager["Service"]],
        keep_s: float,
    ) -> None:
        """Take the pool to look with, what loads an encoder of the gallery, and what opens a service with it.

        A service that is no longer needed is closed after keep_s, when whoever began with it has ended.
        """
        self._pool = pool
        self._load = load
        self._answering = answering
        self._keep_s = keep_s
        self._current: Service | None = None
        self._opened: dict[str, tuple[Service, AsyncExitStack]] = {}
        """By fingerprint."""
        self._needed_at: dict[str, float] = {}
        self._turn = asyncio.Lock()

    @property
    def current(self) -> "Service":
        """The service that answers now."""
        assert self._current is not None, "start it first"
        return self._current

    async def start(self, encoder: Encoder) -> "Service":
        """Open the first service."""
        self._current = await self._open(encoder)
        return self._current

    async def close(self) -> None:
        """Close every service that is open; what is on the device is finished."""
        for _, stack in self._opened.values():
            await stack.aclose()
        self._opened.clear()

    async def follow(self) -> "Service":
        """Return the service of the gallery's active encoder, opened first if it is not yet.

        Raises:
            EmbeddingError: the checkpoint cannot be loaded, or has changed.
            psycopg.Error, psycopg_pool.PoolTimeout: the database does not answer.
        """
        async with self._turn:
            async with self._pool.connection() as connection:
                active, announced = await active_encoder(connection), await announced_encoder(connection)
            if (
                active is not None
                and active.images
                and active.fingerprint != self.current.encoder.fingerprint
            ):
                before, self._current = self.current, await self._ready(active)
                logger.info("encoder %s in place of %s", active.checkpoint, before.encoder.checkpoint)
            if announced is not None:
                await self._ready(announced)
            next_ = None if announced is None else announced.fingerprint
            await self._close_others(self.current.encoder.fingerprint, next_)
        return self.current

    async def keep_following(self) -> None:
        """Look every two seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(psycopg.Error, psycopg_pool.PoolTimeout):  # it is told to whoever asks
                try:
                    await self.follow()
                except EmbeddingError as error:
                    logger.warning("the gallery's next encoder cannot be loaded: %s", error)

    async def _ready(self, row: EncoderRow) -> "Service":
        known = self._opened.get(row.fingerprint)
        return known[0] if known else await self._open(await asyncio.to_thread(self._load, row))

    async def _open(self, encoder: Encoder) -> "Service":
        stack = AsyncExitStack()
        service = await stack.enter_async_context(self._answering(encoder))
        self._opened[encoder.fingerprint] = (service, stack)
        return service

    async def _close_others(self, *needed: str | None) -> None:
        """Let go of encoders that have been neither active nor announced for a while."""
        now = asyncio.get_running_loop().time()
        self._needed_at |= {fingerprint: now for fingerprint in needed if fingerprint is not None}
        for fingerprint, (_, stack) in list(self._opened.items()):
            if now - self._needed_at.setdefault(fingerprint, now) > self._keep_s:
                del self._opened[fingerprint], self._needed_at[fingerprint]
                await stack.aclose()
