"""Does the index find what an exact search does? A sample of real questions is asked again, both ways."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import psycopg
import psycopg_pool

from db.connection import Connection, Pool
from db.errors import EncoderMismatchError
from db.searching import Hit

K = 10
TOLERANCE = 1e-6
"""Pictures as near as the last of the exact ten count as found: equal pictures may come in either order."""
REST = 9
"""After a check nothing is checked for so many times as long: at most a tenth of one connection's time."""


class Ask(Protocol):
    """A question with everything but how many hits and whether to compare every picture."""

    def __call__(self, connection: Connection, /, *, k: int, exact: bool) -> Awaitable[Sequence[Hit]]: ...


logger = logging.getLogger(__name__)


class RecallSampler:
    """Checks a share of the questions, one at a time, while nobody waits for a connection."""

    def __init__(self, pool: Pool, *, share: float, on_recall: Callable[[float], None]) -> None:
        """Take the share of questions to check (0 to 1) and who is told each recall."""
        self._pool = pool
        self._share = share
        self._on_recall = on_recall
        self._checking: asyncio.Task[None] | None = None

    def sample(self, ask: Ask) -> None:
        """Perhaps check this question; returns at once."""
        if random.random() >= self._share:  # noqa: S311  # nosec B311
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(ask), name="index-recall")

    async def close(self) -> None:
        """Stop the check under way, if there is one."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})

    async def _check(self, ask: Ask) -> None:
        if self._pool.get_stats()["requests_waiting"]:
            return
        started = asyncio.get_running_loop().time()
        try:
            async with self._pool.connection(timeout=1.0) as connection, connection.transaction():
                await connection.execute("set transaction isolation level repeatable read, read only")
                found = await ask(connection, k=K, exact=False)
                exact = await ask(connection, k=K, exact=True)
        except (psycopg.Error, psycopg_pool.PoolTimeout, EncoderMismatchError) as error:
            logger.info("a question's recall could not be checked: %s", error)
        else:
            if exact:
                self._on_recall(recall(found, exact))
        await asyncio.sleep(REST * (asyncio.get_running_loop().time() - started))


def recall(found: Sequence[Hit], exact: Sequence[Hit]) -> float:
    """Return the share of the exact hits, which are some, that were found, or others as near."""
    good_enough = min(hit.score for hit in exact) - TOLERANCE
    return min(1.0, sum(hit.score >= good_enough for hit in found) / len(exact))
