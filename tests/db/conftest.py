"""Databases with pictures in them, each test its own copy."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import _database, named
from tests.db.galleries import Embedding, build_index, clustered, connect, fill

SMALL, LARGE = 200, 24_000


@pytest.fixture
def psql(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A migrated database that holds nothing."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture(scope="session")
def small_embeddings() -> Embedding:
    return clustered(SMALL, 16, seed=1)


@pytest.fixture(scope="session")
def small_template(server: str, template: str, small_embeddings: Embedding) -> str:
    """Name of a database of 200 pictures, 16 dimensions, indexed; `even` is an attribute."""
    return _filled(server, template, "template_small", small_embeddings)


@pytest.fixture
def small_gallery(server: str, small_template: str) -> Iterator[str]:
    """libpq URL of a copy of the small gallery."""
    yield from _database(server, small_template)


@pytest.fixture
def small(small_gallery: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a copy of the small gallery."""
    with connect(small_gallery) as connection:
        yield connection


@pytest.fixture(scope="session")
def large_embeddings() -> Embedding:
    return clustered(LARGE, 64, seed=1)


@pytest.fixture(scope="session")
def large_template(server: str, template: str, large_embeddings: Embedding) -> str:
    """Name of a database of 24,000 pictures, 64 dimensions, indexed.

    Collections and attributes are named for the share of the pictures that they keep.
    """
    return _filled(server, template, "template_large", large_embeddings)


@pytest.fixture
def large(server: str, large_template: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a copy of the large gallery."""
    for url in _database(server, large_template):
        with connect(url) as connection:
            yield connection


@pytest.fixture(scope="session")
def large_readonly(server: str, large_template: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a copy of the large gallery for tests that only ask."""
    for url in _database(server, large_template):
        with connect(url) as connection:
            connection.execute("set default_transaction_read_only = on")
            yield connection


def collection_of(i: int) -> str:
    for share, name in ((1000, "0.1 %"), (100, "1 %"), (10, "10 %")):
        if i % share == share // 2:
            return name
    return "most"


def attributes_of(i: int) -> dict[str, Any]:
    return {
        "even": i % 2 == 0,
        "keeps": [
            "100 %",
            *(name for share, name in ((10, "10 %"), (100, "1 %"), (1000, "0.1 %")) if not i % share),
        ],
    }


def _filled(server: str, template: str, name: str, embeddings: Embedding) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    with connect(named(server, name)) as connection:
        build_index(
            connection, fill(connection, embeddings, collection=collection_of, attributes=attributes_of)
        )
        connection.execute("vacuum analyze")
    return name
