"""Searches run in a role that can change nothing, whatever reaches the database."""

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from typing import LiteralString

import psycopg
import pytest
from alembic import command

from app.service import Service, open_service
from app.settings import Settings
from db.connection import READER, Connection, make_pool, may_change
from tests.app.conftest import connect, picture
from tests.app.test_images_api import first_id
from tests.conftest import alembic_config
from tests.encoders import FakeEncoder

WRITES: tuple[LiteralString, ...] = (
    "delete from images",
    "update images set uri = 'x'",
    "insert into collections (name) values ('x')",
    "truncate captions",
    "drop table captions",
    "create table images_too (x integer)",
    "alter table images add column x integer",
    "select register_encoder('x', 'x', repeat('a', 64), 3)",
    "select activate_encoder(1::smallint)",
    "drop index image_embeddings_1_hnsw",
    "create function public.f() returns int language sql as 'select 1'",
    "grant select on api_keys to public",
    "select * from api_keys",
    "copy images to program 'id'",
    "select pg_read_file('/etc/passwd')",
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()",
)


class Refusing:
    """Stands where the writing pool is; nobody who only reads may ask it for anything."""

    def connection(self) -> None:
        raise AssertionError("reading took a connection that may write")

    def get_stats(self) -> dict[str, int]:
        return dict.fromkeys(("pool_available", "pool_size", "pool_max", "requests_waiting"), 0)


async def role(connection: Connection) -> str:
    row = await (await connection.execute("select current_user::text")).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("statement", WRITES)
async def test_a_search_connection_cannot_write(service: Service, statement: LiteralString) -> None:
    async with service.pool.connection() as connection:
        assert await role(connection) == READER
        assert not await may_change(connection)
        await connection.execute("set default_transaction_read_only = off")  # as an intruder would first
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement)
        await connection.execute("set default_transaction_read_only = on")


async def test_where_there_is_no_such_role_transactions_are_read_only(
    service: Service, settings: Settings
) -> None:
    assert settings.database_url is not None
    async with service.writing_pool.connection() as connection:
        await connection.execute("revoke usage on schema image_retrieval from image_retrieval_reader")
    async with make_pool(settings.database_url, reading=True) as pool, pool.connection() as connection:
        assert await role(connection) != READER
        assert await may_change(connection)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("delete from images")


async def test_everything_that_reads_over_http_does_so_without_the_right_to_write(
    service: Service, settings: Settings
) -> None:
    reading = dataclasses.replace(service, writing_pool=Refusing())  # type: ignore[arg-type]
    async with connect(settings, reading) as client:
        found = await first_id(client)
        image = f"/api/images/{found}"
        for path in (
            image, f"{image}/file", f"{image}/thumbnail", f"{image}/similar", "/api/collections",
            "/api/encoders", "/api/facets", "/api/status", "/api/search?text=red&exact=true", "/metrics",
            "/readyz",
        ):  # fmt: skip
            assert (await client.get(path)).status_code == 200, path
        asked = await client.post("/api/search", files={"image": ("x.png", picture("red"))})
        assert asked.status_code == 200
        asked = await client.post("/api/predict-image", data={"query": "red"})
        assert asked.status_code == 200
        asked = await client.post("/api/ask", json={"terms": [{"image_id": found}], "sort": "newest"})
        assert "event: done" in asked.text
        asked = await client.post("/api/images/zip", json={"ids": [found]})
        assert asked.status_code == 200
        assert (
            await client.post("/api/images", files={"image": ("n.png", picture("navy"))})
        ).status_code == 500


async def test_searches_may_have_a_login_of_their_own(
    service: Service, settings: Settings, encoder: FakeEncoder
) -> None:
    assert settings.database_url is not None
    async with service.writing_pool.connection() as connection:
        await connection.execute("create role searcher login")
        await connection.execute("select grant_reading('searcher')")
    try:
        login = settings.database_url.replace("postgres:@", "searcher:@")
        async with open_service(settings.replace(read_database_url=login), encoder) as other:
            async with other.pool.connection() as connection:
                assert await role(connection) == "searcher"
                assert not await may_change(connection)
            async with connect(settings, other) as client:
                assert (await client.get("/api/search?text=red")).json()["hits"]
                posted = await client.post("/api/images", files={"image": ("n.png", picture("navy"))})
                assert posted.status_code == 201
    finally:
        async with service.writing_pool.connection() as connection:
            await connection.execute("drop owned by searcher; drop role searcher")


@pytest.fixture
def plain_owner(empty_database: str) -> Iterator[str]:
    """libpq URL of a database whose owner is no superuser and makes no roles."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create extension vector")
        connection.execute("create role plain login")
        connection.execute(
            "do $$ begin execute format('alter database %I owner to plain', current_database()); end $$"
        )
        yield empty_database.replace("postgres:@", "plain:@")
        connection.execute("reassign owned by plain to postgres; drop owned by plain; drop role plain")


async def test_a_plain_owner_migrates_and_then_searches_in_read_only_transactions(plain_owner: str) -> None:
    command.upgrade(alembic_config(plain_owner), "head")
    async with make_pool(plain_owner, reading=True) as pool, pool.connection() as connection:
        assert await role(connection) == "plain"
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("delete from images")


def test_an_owner_who_may_not_make_roles_migrates_all_the_same(plain_owner: str) -> None:
    """The role is there already for these tests; another that is not shows what making it would meet."""
    command.upgrade(alembic_config(plain_owner), "head")
    making = import_module("migrations.versions.0004_keys").MAKE_READER
    told: list[str] = []
    with psycopg.connect(plain_owner, autocommit=True) as owner:
        owner.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("select image_retrieval.grant_reading('nobody_there')")
        owner.execute("set search_path = image_retrieval")
        owner.execute(making.replace("grant_reading()", "grant_reading('nobody_there')"))
    assert told == ["image_retrieval_reader cannot be made: searches run with the rights of plain"]


async def test_a_plain_owner_searches_as_the_reader_once_an_administrator_has_made_it(
    plain_owner: str,
) -> None:
    command.upgrade(alembic_config(plain_owner), "head")
    with psycopg.connect(plain_owner.replace("plain:@", "postgres:@"), autocommit=True) as administrator:
        administrator.execute(f"grant {READER} to plain")
    try:
        with psycopg.connect(plain_owner, autocommit=True) as owner:
            owner.execute("select image_retrieval.grant_reading()")
        async with make_pool(plain_owner, reading=True) as pool, pool.connection() as connection:
            assert await role(connection) == READER
            assert not await may_change(connection)
    finally:
        with psycopg.connect(plain_owner.replace("plain:@", "postgres:@"), autocommit=True) as administrator:
            administrator.execute(f"revoke {READER} from plain")
