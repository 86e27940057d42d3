"""Copies of a gallery, and back: by our commands, and by PostgreSQL's own as docs/operations.md has them."""

import json
import os
import re
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from app.backup import DUMP
from app.service import Service
from app.settings import Settings
from db.connection import READER
from db.embedded import program_folder
from db.programs import run_psql
from tests.app.conftest import connect, picture
from tests.app.test_access import make_key
from tests.app.test_cli import environment, run
from tests.conftest import ROOT

__all__ = ["environment"]

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
COUNTED = ("images", "captions", "image_embeddings", "collections", "encoders", "api_keys")


@pytest.fixture
async def filled(service: Service, settings: Settings) -> Settings:
    """The gallery of colours with an upload and a key."""
    await make_key(service, "write", "phone")
    async with connect(settings, service) as client:
        sent = {"image": ("n.png", picture("navy"))}
        posted = await client.post("/api/images", data={"captions": "a navy picture"}, files=sent)
        assert posted.status_code == 201
    return settings


@pytest.fixture
def another(server: str) -> Iterator[str]:
    """libpq URL of a database that is not there yet, or whatever a test makes of it."""
    name = f"restored_{uuid.uuid4().hex[:8]}"
    yield server.replace("/postgres?", f"/{name}?", 1)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("drop database if exists {} with (force)").format(Identifier(name)))


def make(database_url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
        connection.execute(SQL("create database {}").format(Identifier(str(name))))


def contents(database_url: str) -> dict[str, list[tuple[str]]]:
    """Return every row of the gallery, as text, and what a search finds."""
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path = image_retrieval, public")
        rows = {
            table: connection.execute(
                SQL("select t::text from {} as t order by 1").format(Identifier(table))
            ).fetchall()
            for table in COUNTED
        }
        question = "select search_images((select embedding from gallery where uri = 'red.png'), 5)::text"
        return rows | {"found": connection.execute(question).fetchall()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_a_gallery_comes_back_whole(
    filled: Settings, another: str, environment: dict[str, str], tmp_path: Path
) -> None:
    assert filled.database_url is not None
    copy, place = tmp_path / "copy", tmp_path / "restored"
    made = run(environment, "backup", copy, "--json")
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert (report["files"], report["already_there"]) == (1, 0)
    assert report["folders_left_out"] == [str(tmp_path / "colours")]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700

    make(another)
    restored = environment | {"DATABASE_URL": another, "IMAGE_RETRIEVAL_DATA_DIR": str(place)}
    back = run(restored, "restore", copy)
    assert back.returncode == 0, back.stderr
    assert contents(another) == contents(filled.database_url)
    assert files_of(place / "uploads") == files_of(filled.data_dir / "uploads")
    told = run(restored, "doctor")
    assert "problem" not in told.stdout.replace("problem  model", "")  # the fake encoder has no checkpoint
    assert "all 9 are there" in told.stdout
    assert "index valid" in told.stdout
    assert "can change nothing" in told.stdout  # the reading role has its rights again


async def test_a_second_copy_takes_only_what_is_new_and_replaces_the_dump_whole(
    filled: Settings, environment: dict[str, str], service: Service, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    run(environment, "backup", copy)
    first = (copy / DUMP).read_bytes()
    async with connect(filled, service) as client:
        await client.post("/api/images", files={"image": ("t.png", picture("teal"))})
    again = json.loads(run(environment, "backup", copy, "--json").stdout)
    assert (again["files"], again["already_there"]) == (1, 1)
    second = (copy / DUMP).read_bytes()
    assert second != first
    failed = run(environment | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "backup", copy)
    assert failed.returncode == 2
    assert (copy / DUMP).read_bytes() == second


async def test_a_gallery_that_holds_something_is_never_overwritten(
    filled: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    assert filled.database_url is not None
    run(environment, "backup", tmp_path / "copy")
    before = contents(filled.database_url)
    refused = run(environment, "restore", tmp_path / "copy")
    assert refused.returncode == 2
    assert "9 pictures and 1 keys" in refused.stderr
    assert contents(filled.database_url) == before


async def test_an_empty_gallery_takes_a_copy(
    filled: Settings, another: str, environment: dict[str, str], tmp_path: Path
) -> None:
    assert filled.database_url is not None
    run(environment, "backup", tmp_path / "copy")
    make(another)
    restored = environment | {"DATABASE_URL": another, "IMAGE_RETRIEVAL_DATA_DIR": str(tmp_path / "restored")}
    assert run(restored, "migrate").returncode == 0
    assert run(restored, "restore", tmp_path / "copy").returncode == 0
    assert contents(another) == contents(filled.database_url)


async def test_a_damaged_or_missing_copy_is_said_and_leaves_nothing(
    filled: Settings, another: str, environment: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    run(environment, "backup", copy)
    (copy / DUMP).write_bytes((copy / DUMP).read_bytes()[:-2000])
    make(another)
    restored = environment | {"DATABASE_URL": another}
    refused = run(restored, "restore", copy)
    assert refused.returncode == 2
    assert "pg_restore failed" in refused.stderr
    assert "Traceback" not in refused.stderr
    with psycopg.connect(another) as connection:
        assert connection.execute("select to_regnamespace('image_retrieval')").fetchone() == (None,)
    (tmp_path / "empty").mkdir()
    nothing = run(restored, "restore", tmp_path / "empty")
    assert nothing.returncode == 2
    assert "is no backup" in nothing.stderr


def test_the_embedded_gallery_is_copied_and_restored_by_the_pages_commands(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The page's first two blocks, in a shell, with folders of this test's own."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[:2]
    program = tmp_path / "bin" / "image-retrieval"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.cli "$@"\n')
    program.chmod(0o755)
    place = Path(environment["IMAGE_RETRIEVAL_DATA_DIR"])
    environment = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    script = "\n".join(["image-retrieval status >/dev/null", *blocks])
    script = script.replace("/backups", str(tmp_path / "backups")).replace("/srv", str(place.parent))
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env=environment | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is indexed yet" in done.stdout


async def test_postgresqls_own_commands_do_it_too(filled: Settings, another: str, tmp_path: Path) -> None:
    assert filled.database_url is not None
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[2:4]
    assert "pg_dump" in blocks[0]
    assert "pg_restore" in blocks[1]
    name = str(psycopg.conninfo.conninfo_to_dict(another)["dbname"])
    done = subprocess.run(
        ["bash", "-euc", "\n".join(blocks).replace(" restored\n", f" {name}\n")],
        cwd=tmp_path,
        env={
            "DATABASE_URL": filled.database_url,
            "RESTORED_URL": another,
            "IMAGE_RETRIEVAL_DATA_DIR": str(filled.data_dir),
            "PATH": f"{program_folder()}:{os.environ['PATH']}",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(another) == contents(filled.database_url)
    assert files_of(tmp_path / "uploads-copy") == files_of(filled.data_dir / "uploads")
    with psycopg.connect(another) as connection:
        connection.execute(f"set role {READER}")
        assert connection.execute("select count(*) from image_retrieval.images").fetchone() == (9,)


def test_a_password_is_no_argument_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "psql"
    fake.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > {tmp_path}/password\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    url = "postgresql://me:hush%20hush@db.example/gallery"  # pragma: allowlist secret
    assert run_psql(url, ["-c", "select 1"]) == 0
    assert "hush" not in (tmp_path / "arguments").read_text()
    assert "db.example" in (tmp_path / "arguments").read_text()
    assert (tmp_path / "password").read_text() == "hush hush\n"
