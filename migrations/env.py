"""Alembic entry point: `alembic upgrade head` and `image-retrieval migrate` both pass here.

The database is DATABASE_URL, else the embedded one. One migration runs at a time: a second process waits for
the first and then finds nothing left to do.
"""

import re

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from app.settings import Settings
from db.connection import check_versions, sqlalchemy_url
from db.embedded import start_embedded
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
    """Check the versions, take turns, and set the path that functions remember (set search_path from current)."""
    connection.execute(text("select pg_advisory_xact_lock(hashtext('image_retrieval.migrate'))"))
    connection.execute(text("create extension if not exists vector"))
    driver = connection.connection.driver_connection
    check_versions(driver)
    extension = connection.scalar(
        text("select extnamespace::regnamespace::text from pg_extension where extname = 'vector'")
    )
    connection.execute(text(f"create schema if not exists {SCHEMA}"))
    connection.execute(text(f"set local search_path = {SCHEMA}, {extension}, pg_temp"))


if context.is_offline_mode():
    raise SystemExit("offline mode (--sql) is not supported: the migrations read what is in the database")

engine = create_engine(sqlalchemy_url(database_url()), poolclass=NullPool)
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
engine.dispose()
