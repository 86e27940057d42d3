"""A copy of the gallery in a folder, and back: a dump of the database, and the files that came by upload.

    <folder>/gallery.dump   the schema image_retrieval, in pg_dump's custom format
    <folder>/uploads/       the upload store

The dump is one moment. Files are copied after it: what is uploaded meanwhile is a file too many, which does
no harm. Folders indexed in place are their owner's, and are named for them to copy.
"""

import shutil
from pathlib import Path

import psycopg
from msgspec import Struct

from app.database import migrate
from app.errors import SettingsError
from db.errors import CopyError
from db.programs import dump_gallery, load_gallery

DUMP = "gallery.dump"


class Backup(Struct, frozen=True):
    """What was copied: files new in the copy, files there already, and the folders that are not in it."""

    dump_bytes: int
    files: int
    already_there: int
    folders_left_out: list[str]

    def summary(self) -> str:
        """Return it for people."""
        lines = [
            f"the database ({self.dump_bytes / 1e6:.1f} MB), {self.files} files,"
            f" {self.already_there} already there"
        ]
        lines += [f"not in it, for it is not ours: {folder}" for folder in self.folders_left_out]
        return "\n".join(lines)


def back_up(database_url: str, data_dir: Path, folder: Path) -> Backup:
    """Copy the gallery into a folder; into the folder of an earlier copy, only what has changed.

    Raises:
        CopyError: pg_dump failed, or there is no gallery.
        psycopg.OperationalError: the database cannot be reached.
    """
    with psycopg.connect(database_url) as connection:
        if not _has_schema(connection):
            raise CopyError("there is no gallery in the database")
        roots = connection.execute(
            "select root from image_retrieval.collections where root is not null order by root"
        ).fetchall()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds what the gallery holds
    unfinished = folder / f"{DUMP}.part"
    dump_gallery(database_url, unfinished)
    unfinished.replace(folder / DUMP)
    copied, there = _copy_new(data_dir / "uploads", folder / "uploads")
    return Backup((folder / DUMP).stat().st_size, copied, there, [root for (root,) in roots])


def restore(database_url: str, data_dir: Path, folder: Path) -> Backup:
    """Bring a copy back into a database whose gallery is empty, and to this program's revision.

    Raises:
        SettingsError: the folder is no copy.
        CopyError: the gallery is not empty, or pg_restore failed.
        psycopg.OperationalError: the database cannot be reached.
    """
    dump = folder / DUMP
    if not dump.is_file():
        raise SettingsError(f"{folder} is no backup: there is no {DUMP} in it")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create extension if not exists vector")
        if _has_schema(connection):
            migrate(database_url)  # so that what is asked of it is there
            _require_empty(connection)
            connection.execute("drop schema image_retrieval cascade")
    load_gallery(database_url, dump)
    migrate(database_url)
    _make_reader(database_url)
    copied, there = _copy_new(folder / "uploads", data_dir / "uploads")
    return Backup(dump.stat().st_size, copied, there, [])


def _has_schema(connection: psycopg.Connection) -> bool:
    row = connection.execute("select to_regclass('image_retrieval.images') is not null").fetchone()
    return bool(row and row[0])


def _require_empty(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "select (select count(*) from image_retrieval.images),"
        " (select count(*) from image_retrieval.api_keys)"
    ).fetchone()
    assert row is not None
    if any(row):
        raise CopyError(
            f"the gallery there holds {row[0]} pictures and {row[1]} keys, and is left as it is: restore into"
            " an empty one, by another DATABASE_URL or IMAGE_RETRIEVAL_DATA_DIR"
        )


def _make_reader(database_url: str) -> None:
    """Give the reading role its rights again: a dump has none. Where that may not be, doctor tells."""
    with psycopg.connect(database_url) as connection:
        try:
            connection.execute("select image_retrieval.grant_reading()")
        except psycopg.errors.InsufficientPrivilege:
            connection.rollback()


def _copy_new(source: Path, target: Path) -> tuple[int, int]:
    """Copy the files that are not there whole yet; return how many, and how many were.

    The store is content-addressed, so a file of the same name and size is the same.
    """
    copied = there = 0
    for file in sorted(source.rglob("*")) if source.is_dir() else []:
        if not file.is_file() or file.suffix == ".part":
            continue
        place = target / file.relative_to(source)
        if place.is_file() and place.stat().st_size == file.stat().st_size:
            there += 1
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(".part")
        shutil.copy2(file, unfinished)
        unfinished.replace(place)
        copied += 1
    return copied, there
