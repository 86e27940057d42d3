"""The pool: connections that the server ended are replaced before anybody is given one."""

import psycopg

from db.connection import make_pool


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
