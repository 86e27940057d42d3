"""Texts that were encoded, on their way to where search_text finds them; nobody waits for it."""

import asyncio
import logging
import unicodedata
from collections.abc import Awaitable, Callable

import psycopg
import psycopg_pool

from db.connection import Pool
from db.gallery import Embedding
from db.text_embeddings import store_texts

STORE_EVERY_S = 1.0
MOST_WAITING = 1000
"""More new texts than that within a second are not all kept."""

logger = logging.getLogger(__name__)


class TextMemory:
    """Collects what was encoded, and stores it once a second; runs inside its `async with`."""

    def __init__(self, pool: Pool, *, keep: int) -> None:
        """Take a pool that may write, and how many texts of an encoder are kept; 0 keeps none."""
        self._pool = pool
        self._keep = keep
        self._waiting: dict[str, dict[str, Embedding]] = {}
        """By fingerprint and text."""
        self._storing: asyncio.Task[None] | None = None

    def remembering(
        self, encode: Callable[[str], Awaitable[Embedding]], fingerprint: str
    ) -> Callable[[str], Awaitable[Embedding]]:
        """Return the encode function of this encoder, its results remembered."""
        if self._keep == 0:
            return encode

        async def encode_and_remember(text: str) -> Embedding:
            embedding = await encode(text)
            waiting = self._waiting.setdefault(fingerprint, {})
            if len(waiting) < MOST_WAITING:
                waiting[unicodedata.normalize("NFC", text.strip())] = embedding
            return embedding

        return encode_and_remember

    async def __aenter__(self) -> "TextMemory":
        if self._keep:
            self._storing = asyncio.create_task(self._keep_storing(), name="text-memory")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait({self._storing})
        await self.store()

    async def store(self) -> None:
        """Store what has come; what cannot be stored is forgotten, for it can be encoded again."""
        waiting, self._waiting = self._waiting, {}
        try:
            for fingerprint, texts in waiting.items():
                async with self._pool.connection() as connection:
                    await store_texts(connection, fingerprint, texts, keep=self._keep)
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            logger.info("texts that were asked could not be kept: %s", error)

    async def _keep_storing(self) -> None:
        while True:
            await asyncio.sleep(STORE_EVERY_S)
            await self.store()
