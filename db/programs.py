"""PostgreSQL's own programs: psql, pg_dump, pg_restore. Ours come with the embedded server's wheel.

A password goes to them in the environment: whoever lists the processes of a machine sees their arguments.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from db.embedded import program_folder
from db.errors import CopyError

SCHEMA = "image_retrieval"
OWN_MATTERS = ("--no-owner", "--no-privileges")
"""Owners and rights are each server's own; grant_reading gives the reading role its own again."""


def run_psql(database_url: str, arguments: Sequence[str]) -> int:
    """Run psql on a database until its user leaves; return its exit code.

    It is the system's psql, else ours. Our schema is on the path.
    """
    program = shutil.which("psql") or program_folder() / "psql"
    address, secrets = _without_password(database_url)
    environment = {"PGOPTIONS": f"-c search_path={SCHEMA},public", **os.environ, **secrets}
    return subprocess.run([program, address, *arguments], env=environment, check=False).returncode  # noqa: S603


def dump_gallery(database_url: str, file: Path) -> None:
    """Write our schema, as it is at this moment, to a file in pg_dump's custom format.

    Raises:
        CopyError: pg_dump failed; the message is its own.
        psycopg.OperationalError: the database cannot be reached.
    """
    arguments = ["--format=custom", f"--schema={SCHEMA}", *OWN_MATTERS, "--file", str(file)]
    _run("pg_dump", database_url, arguments)


def load_gallery(database_url: str, file: Path) -> None:
    """Read a dump into a database that has no schema of ours: all of it, or nothing.

    Raises:
        CopyError: pg_restore failed; the message is its own.
        psycopg.OperationalError: the database cannot be reached.
    """
    arguments = ["--exit-on-error", "--single-transaction", *OWN_MATTERS, str(file)]
    # the HNSW indexes are built anew
    _run("pg_restore", database_url, arguments, {"PGOPTIONS": "-c maintenance_work_mem=512MB"})


def _run(
    name: str, database_url: str, arguments: Sequence[str], settings: Mapping[str, str] | None = None
) -> None:
    with psycopg.connect(database_url) as connection:
        server_version = connection.info.server_version // 10_000
    address, secrets = _without_password(database_url)
    done = subprocess.run(  # noqa: S603
        [_program(name, server_version), "--dbname", address, *arguments],
        env={**os.environ, **(settings or {}), **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CopyError(f"{name} failed: {done.stderr.strip()}")


def _program(name: str, server_version: int) -> Path:
    """Return a program that is at least as new as the server: an older one refuses."""
    candidates = [program_folder() / name, *map(Path, filter(None, [shutil.which(name)]))]
    for program in candidates:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
        version = re.search(r"\d+", said)
        if version and int(version[0]) >= server_version:
            return program
    raise CopyError(
        f"no {name} of PostgreSQL {server_version} or newer is here; install the package"
        f" postgresql-client-{server_version}"
    )


def _without_password(database_url: str) -> tuple[str, dict[str, str]]:
    parts = conninfo_to_dict(database_url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {} if not password else {"PGPASSWORD": str(password)}
