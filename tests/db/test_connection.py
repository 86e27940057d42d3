"""The pool: nobody gets a connection that the server ended, and none is lost to those who are cancelled."""

import asyncio
import contextlib

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from db.connection import Connection, Pool, make_pool
from db.storing import taking_turns


async def test_connections_that_the_server_ended_are_never_handed_out(database_url: str) -> None:
    async with make_pool(database_url, size=3) as pool:
        for _ in range(3):
            async with pool.connection() as one, pool.connection() as two, pool.connection() as three:
                ended = {one.info.backend_pid, two.info.backend_pid, three.info.backend_pid}
            with psycopg.connect(database_url, autocommit=True) as other:
                for pid in ended:
                    assert other.execute("select pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (
                        True,
                    )
            for _ in range(4):
                async with pool.connection() as connection:
                    cursor = await connection.execute("select pg_backend_pid()")
                    row = await cursor.fetchone()
                    assert row is not None
                    assert row[0] not in ended


async def until_idle(pool: Pool) -> None:
    """Wait until every connection is back; those that the pool still opens take a moment."""
    async with asyncio.timeout(2):
        while (stats := pool.get_stats())["pool_available"] != stats["pool_size"]:
            await asyncio.sleep(0.01)


async def test_a_connection_is_not_lost_when_its_return_is_cancelled(pool: Pool) -> None:
    async def use() -> None:
        async with pool.connection() as connection:
            await connection.execute("select 1")
            await pool._lock.acquire()  # somebody else does something with the pool just now

    task = asyncio.create_task(use())
    while not pool._lock or not pool._lock.locked():
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    pool._lock.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_idle(pool)


async def test_a_cancellation_that_comes_with_the_connection_is_not_forgotten(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AsyncConnectionPool.getconn

    async def swallow(self: Pool, timeout: float | None = None) -> Connection:
        connection = await real(self, timeout)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # as asyncio's Condition does, up to Python 3.11
            await asyncio.sleep(0)
        return connection

    monkeypatch.setattr(AsyncConnectionPool, "getconn", swallow)

    async def use() -> None:
        async with pool.connection():
            raise AssertionError("a connection was given to a task that was cancelled")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(use())
    await until_idle(pool)


async def test_a_statement_is_cancelled_until_it_has_ended(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    real = AsyncConnection.cancel_safe

    async def forget_the_first(self: Connection, *, timeout: float = 30.0) -> None:
        asked.append(timeout)
        if len(asked) > 1:  # the first overtook its statement, and PostgreSQL forgot it
            await real(self, timeout=timeout)

    monkeypatch.setattr(AsyncConnection, "cancel_safe", forget_the_first)

    async def use() -> None:
        async with pool.connection() as connection:
            await connection.execute("select pg_sleep(20)")

    task = asyncio.create_task(use())
    await asyncio.sleep(0.1)
    task.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(asked) == 2
    async with pool.connection() as connection:  # the same one, none the worse for it
        await connection.execute("select 1")


@pytest.mark.parametrize("moment_s", [0.0, 0.001, 0.002, 0.004, 0.1])
async def test_whoever_is_cancelled_holds_no_turn(pool: Pool, database_url: str, moment_s: float) -> None:
    async def work() -> None:
        async with pool.connection() as connection, taking_turns(connection, "a picture"):
            await connection.execute("select pg_sleep(5)")

    task = asyncio.create_task(work())
    await asyncio.sleep(moment_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with psycopg.connect(database_url, autocommit=True) as other:
        held = other.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
    assert held == (0,)
    async with pool.connection(timeout=2) as connection, taking_turns(connection, "a picture"):
        pass


async def test_a_turn_that_cannot_be_given_back_goes_with_its_connection(
    pool: Pool, database_url: str
) -> None:
    async def spoil() -> None:
        async with pool.connection() as connection, taking_turns(connection, "a picture"):
            await connection.execute("begin")
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                await connection.execute("select 1 / 0")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await spoil()
    with psycopg.connect(database_url, autocommit=True) as other:
        held = other.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
    assert held == (0,)
