"""Alembic entry point: `alembic upgrade head` and `image-retrieval migrate` both pass here.

The database is DATABASE_URL, else the embedded one. One migration runs at a time: a second process waits for
the first and then finds nothing left to do.
"""

import re
from contextlib import suppress
from functools import partial

import psycopg
from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, InternalError

from app.settings import Settings
from db.connection import check_versions
from db.embedded import start_embedded
from db.errors import DatabaseUnsuitableError
from db.tables import SCHEMA, metadata

PARTITION = re.compile(r"image_embeddings_\d+(_.*)?")


def database_url() -> str:
    given: str | None = context.config.attributes.get("database_url")
    if given is None:
        settings = Settings.from_env()
        given = settings.database_url or start_embedded(settings.data_dir / "postgres")
    return given


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave out what is made at run time (a partition for each encoder) and other people's schemas."""
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and name and PARTITION.fullmatch(name))


def prepare(connection: Connection) -> None:
    """Take turns, check the versions, set the path that functions remember (set search_path from current)."""
    connection.execute(text("select pg_advisory_xact_lock(hashtext('image_retrieval.migrate'))"))
    try:
        connection.execute(text("create extension if not exists vector"))
    except DBAPIError as error:
        raise DatabaseUnsuitableError(
            f"the extension vector (pgvector) cannot be made in this database: {error.orig}"
        ) from error
    driver = connection.connection.driver_connection
    check_versions(driver)
    extension = connection.scalar(
        text("select extnamespace::regnamespace::text from pg_extension where extname = 'vector'")
    )
    # a function may set hnsw.ef_search, and its owner need be no superuser, once pgvector's library is loaded
    connection.execute(text(f"select '[1]'::{extension}.vector"))
    connection.execute(text(f"create schema if not exists {SCHEMA}"))
    connection.execute(text(f"set local search_path = {SCHEMA}, {extension}, pg_temp"))


def tidy(connection: Connection) -> None:
    """Remove our schema if it is at no revision, unless tables are parked or it holds more than ours."""
    parked = connection.scalar(text("select to_regnamespace('image_retrieval_parked') is not null"))
    if context.get_context().get_current_heads() or parked:
        return
    with suppress(InternalError), connection.begin_nested():
        connection.execute(text(f"drop table if exists {SCHEMA}.alembic_version"))
        connection.execute(text(f"drop schema {SCHEMA}"))


if context.is_offline_mode():
    raise SystemExit("offline mode (--sql) is not supported: the migrations read what is in the database")

# psycopg reads the address, so that everything libpq takes is taken here
engine = create_engine(
    "postgresql+psycopg://", creator=partial(psycopg.connect, database_url()), poolclass=NullPool
)
with engine.begin() as connection:
    prepare(connection)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=ours,
        compare_server_default=False,
    )
    context.run_migrations()
    tidy(connection)
engine.dispose()
