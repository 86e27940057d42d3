"""The psycopg pool, what every session of ours is set to, and which versions we stand on."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal
from psycopg_pool import AsyncConnectionPool

from db.errors import DatabaseUnsuitableError, NotMigratedError

READER = "image_retrieval_reader"
"""The role that searches and changes nothing; migrations/sql/grant_reading_v1.sql."""

MINIMUM_POSTGRESQL = 16
# 0.8.2 mended CVE-2026-3172 (parallel HNSW build), 0.8.3 and 0.8.4 index damage under VACUUM
MINIMUM_PGVECTOR = (0, 8, 4)
# a session that stopped in the middle of a transaction lets go of its locks
IDLE_IN_TRANSACTION_S = 60
CANCEL_AGAIN_S = 0.1
RECONNECT_FOR_S = 3.0
"""The pool tries to connect again after 1, 2, 4, … s, soon minutes: it would miss that the server is back.
Where it gives up this early, whoever wants a connection next begins anew."""
NOTICE_SILENCE: Mapping[str, int] = {
    "connect_timeout": 5,
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,  # seconds, seconds, times
    "tcp_user_timeout": 10_000,  # milliseconds
}  # fmt: skip
"""A server that has gone without a word is noticed in seconds, not in the hours of TCP's own defaults."""


class Connection(AsyncConnection[Any]):
    """psycopg's, but insistent: a statement whose caller was cancelled is cancelled until it has ended."""

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Cancel the statement under way, again and again until the server answers, at most for timeout.

        PostgreSQL forgets a cancellation that overtakes its statement, and psycopg asks once, then waits 5 s.
        """
        loop, answered = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.pgconn.socket, answered.set)
        try:
            async with asyncio.timeout(timeout):
                while self.pgconn.transaction_status == TransactionStatus.ACTIVE and not answered.is_set():
                    await super().cancel_safe(timeout=timeout)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CANCEL_AGAIN_S):
                            await answered.wait()
        finally:
            loop.remove_reader(self.pgconn.socket)


class Pool(AsyncConnectionPool[Connection]):
    """A pool that tries one connection itself as it opens: its workers would only log what is wrong."""

    prepare: Callable[[Connection], Awaitable[None]]

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Open the pool.

        Raises:
            psycopg.OperationalError: the server cannot be reached.
            DatabaseUnsuitableError, NotMigratedError: as prepare_session.
        """
        assert isinstance(self.conninfo, str)
        assert isinstance(self.kwargs, dict)
        async with await Connection.connect(self.conninfo, **self.kwargs) as connection:
            await self.prepare(connection)
        await super().open(wait, timeout)

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        """Give a connection out, but not to a task that was cancelled while it waited.

        Up to Python 3.11 asyncio's Condition may swallow a cancellation that comes with the connection.
        """
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        connection = await super().getconn(timeout)
        if task.cancelling() > cancelled:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection

    async def putconn(self, conn: Connection) -> None:
        """Take a connection back, also from a task that is cancelled in the midst of returning it.

        psycopg_pool waits there for its lock: cancelled meanwhile, it would lose the connection for good.
        """
        await asyncio.shield(super().putconn(conn))


def make_pool(
    database_url: str,
    *,
    size: int = 4,
    timeout_s: float = 5.0,
    statement_timeout_s: float = 0.0,
    reading: bool = False,
) -> Pool:
    """Return a closed pool; open it with `async with`.

    Args:
        database_url: libpq URL or connection string.
        size: most connections held at once.
        timeout_s: seconds to wait for a free connection before psycopg_pool.PoolTimeout.
        statement_timeout_s: seconds after which PostgreSQL gives up on a statement; 0 is never.
        reading: its connections search and look, and change nothing.
    """

    async def configure(connection: Connection) -> None:
        await prepare_session(connection, statement_timeout_s=statement_timeout_s)
        if reading:
            await become_reader(connection)

    pool = Pool(
        database_url,
        min_size=1,
        max_size=size,
        timeout=timeout_s,
        open=False,
        connection_class=Connection,
        configure=configure,
        check=_require_open,
        reconnect_timeout=RECONNECT_FOR_S,
        kwargs={"autocommit": True, "application_name": "image-retrieval", **_unless_given(database_url)},
    )
    pool.prepare = configure
    return pool


def _unless_given(database_url: str) -> dict[str, int]:
    """Return what of NOTICE_SILENCE the URL does not say itself."""
    given = conninfo_to_dict(database_url)
    return {name: value for name, value in NOTICE_SILENCE.items() if name not in given}


async def _require_open(connection: Connection) -> None:
    """Raise psycopg.OperationalError if the server has hung up; the pool then takes another connection.

    No round trip, as asking it would be: only what has arrived is read, first its goodbye, then the end.
    """
    for _ in range(2):
        connection.pgconn.consume_input()


async def prepare_session(connection: Connection, *, statement_timeout_s: float = 0.0) -> None:
    """Set a new connection up: versions checked, our schema on the path, vectors as pgvector's types, no jit.

    Raises:
        DatabaseUnsuitableError: PostgreSQL or pgvector is too old.
        NotMigratedError: our schema or the extension is not there.
    """
    cursor = await connection.execute(
        "select extversion, extnamespace::regnamespace::text, to_regnamespace('image_retrieval') is not null"
        " from pg_extension where extname = 'vector'"
    )
    row = await cursor.fetchone()
    if row is None or not row[2]:
        raise NotMigratedError(
            "the database has no schema image_retrieval yet; make it with: image-retrieval migrate"
        )
    version, extension_schema, _ = row
    require_versions(connection.info.server_version, version)
    await connection.execute(
        SQL("set search_path = image_retrieval, {}, pg_temp").format(Identifier(extension_schema))
    )
    await connection.execute("set jit = off")
    milliseconds = round(1000 * statement_timeout_s)
    await connection.execute(SQL("set statement_timeout = {}").format(Literal(milliseconds)))
    await connection.execute(
        SQL("set idle_in_transaction_session_timeout = {}").format(Literal(1000 * IDLE_IN_TRANSACTION_S))
    )
    await register_vector_async(connection)


async def become_reader(connection: Connection) -> None:
    """Give up, for this session, the right to change anything: as the role READER, if this login may take it.

    Transactions are read-only besides, which holds where there is no such role too.
    """
    cursor = await connection.execute(
        """
        select pg_has_role(oid, 'set') and has_schema_privilege(oid, 'image_retrieval', 'usage')
        from pg_roles
        where rolname = %s
        """,
        (READER,),
    )
    row = await cursor.fetchone()
    if row and row[0]:
        await connection.execute(SQL("set role {}").format(Identifier(READER)))
    await connection.execute("set default_transaction_read_only = on")


async def may_change(connection: Connection) -> bool:
    """Say whether the role of this session has the right to change the gallery."""
    cursor = await connection.execute(
        "select has_table_privilege('image_retrieval.images', 'insert, update, delete, truncate')"
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


def require_versions(server_version: int, pgvector_version: str) -> None:
    """Raise DatabaseUnsuitableError unless PostgreSQL ≥ 16 and pgvector ≥ 0.8.4.

    Args:
        server_version: libpq's number, 180004 for 18.4.
        pgvector_version: pg_extension.extversion, "0.8.5".
    """
    if server_version // 10_000 < MINIMUM_POSTGRESQL:
        raise DatabaseUnsuitableError(
            f"PostgreSQL is version {server_version // 10_000}; {MINIMUM_POSTGRESQL} or newer is needed"
        )
    if tuple(map(int, re.findall(r"\d+", pgvector_version))) < MINIMUM_PGVECTOR:
        needed = ".".join(map(str, MINIMUM_PGVECTOR))
        raise DatabaseUnsuitableError(
            f"pgvector is version {pgvector_version}; {needed} or newer is needed (older ones can damage HNSW"
            " indexes, CVE-2026-3172). Install it, then run: alter extension vector update"
        )


def check_versions(connection: psycopg.Connection[Any]) -> None:
    """Raise DatabaseUnsuitableError unless the server and its installed pgvector are new enough."""
    row = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    require_versions(connection.info.server_version, row[0] if row else "0")


def host_of(database_url: str) -> str:
    """Return the host, address or socket folder of a libpq URL; "localhost" where it names none."""
    return str(conninfo_to_dict(database_url).get("host") or "localhost")
