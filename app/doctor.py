"""What is wrong with a gallery, and how to mend it: one check after another, each ends in a finding."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import psycopg
from msgspec import Struct

from app.database import newest_revision, start_database
from app.errors import GalleryFileMissingError
from app.keys import allows
from app.routes.access import is_loopback
from app.settings import Settings
from app.uploads import picture_path
from db.api_keys import list_keys
from db.checks import (
    count_images_without_vectors,
    count_vectors_without_images,
    partition_health,
    picture_places,
    read_revision,
    read_versions,
)
from db.connection import (
    READER,
    Connection,
    become_reader,
    host_of,
    may_change,
    prepare_session,
    require_versions,
)
from db.errors import DatabaseUnsuitableError
from db.gallery import EncoderRow, list_encoders
from embedding.checkpoints import find_checkpoint
from embedding.encoder import fingerprint
from embedding.errors import EncoderUnavailableError

ENOUGH_DISK_BYTES = 2_000_000_000
ENOUGH_SHARED_MEMORY_BYTES = 256_000_000
SHOWN = 5

State = Literal["ok", "warning", "problem"]


class Finding(Struct, frozen=True):
    """What a check found; remedy says how to mend it, and is empty when all is well."""

    state: State
    subject: str
    message: str
    remedy: str = ""

    def text(self) -> str:
        """Return it as a line."""
        remedy = f"\n         -> {self.remedy}" if self.remedy else ""
        return f"{self.state:8} {self.subject}: {self.message}{remedy}"


async def examine(settings: Settings) -> list[Finding]:
    """Return the findings of every check that could be made, in order."""
    try:
        database_url = await asyncio.to_thread(start_database, settings)
        connection = await Connection.connect(database_url, autocommit=True)
    except (psycopg.OperationalError, DatabaseUnsuitableError) as error:
        return [
            Finding("problem", "database", str(error).strip(), "start it, or correct DATABASE_URL"),
            *_disk(settings),
        ]
    async with connection:
        findings = [finding async for finding in _database_findings(connection, settings)]
    return [*findings, *_shared_memory(database_url), *_disk(settings)]


async def _database_findings(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    yield await _versions(connection)
    revision, newest = await read_revision(connection), newest_revision()
    if revision != newest:
        yield Finding(
            "problem",
            "schema",
            f"at revision {revision or 'none'}, this program needs {newest}",
            "image-retrieval migrate",
        )
        return
    yield Finding("ok", "schema", f"at revision {revision}")
    await prepare_session(connection)
    async for finding in _vectors(connection):
        yield finding
    for encoder in await list_encoders(connection):
        if encoder.state == "active":
            yield await asyncio.to_thread(_model, encoder, settings)
    yield await _files(connection, settings.data_dir / "uploads")
    yield await _access(connection, settings)
    yield await _searches(connection, settings)


async def _versions(connection: Connection) -> Finding:
    versions = await read_versions(connection)
    names = f"PostgreSQL {versions.server_name}, pgvector {versions.pgvector or 'not installed'}"
    if versions.pgvector is None:
        remedy = (
            "image-retrieval migrate"
            if versions.pgvector_available
            else "install the package of pgvector for this PostgreSQL, then: image-retrieval migrate"
        )
        return Finding("problem", "versions", names, remedy)
    try:
        require_versions(versions.server, versions.pgvector)
    except DatabaseUnsuitableError as error:
        return Finding("problem", "versions", str(error), "upgrade, then: alter extension vector update")
    return Finding("ok", "versions", names)


async def _vectors(connection: Connection) -> AsyncIterator[Finding]:
    partitions = await partition_health(connection)
    if not partitions:
        yield Finding("warning", "gallery", "nothing is indexed yet", "image-retrieval index PATH")
    for partition in partitions:
        subject = f"encoder {partition.name}"
        if partition.index == "valid":
            yield Finding("ok", subject, f"{partition.vectors} vectors, index valid")
        elif partition.vectors:
            drop = f"drop index image_retrieval.image_embeddings_{partition.encoder_id}_hnsw, then: "
            yield Finding(
                "problem",
                subject,
                f"{partition.vectors} vectors, index {partition.index}: searches compare with every picture",
                (drop if partition.index == "invalid" else "")
                + f"select image_retrieval.build_embedding_index({partition.encoder_id}::smallint)",
            )
        without = await count_images_without_vectors(connection, partition.encoder_id)
        if without and partition.state == "active":
            yield Finding(
                "problem", subject, f"{without} pictures have no vector", "index their folders again"
            )
        stray = await count_vectors_without_images(connection, partition.encoder_id)
        if stray:
            yield Finding(
                "problem",
                subject,
                f"{stray} vectors belong to no picture",
                "delete from image_retrieval.image_embeddings where image_id not in"
                " (select id from image_retrieval.images)",
            )


def _model(encoder: EncoderRow, settings: Settings) -> Finding:
    """Hold the checkpoint that would be loaded against the gallery's encoder."""
    model = settings.model or encoder.checkpoint
    try:
        found = fingerprint(find_checkpoint(model))
    except EncoderUnavailableError as error:
        return Finding("problem", "model", str(error), "bring it back, or name it by IMAGE_RETRIEVAL_MODEL")
    if found != encoder.fingerprint:
        return Finding(
            "problem",
            "model",
            f"the gallery was indexed with {encoder.checkpoint} (fingerprint {encoder.fingerprint[:12]}), but"
            f" {model} has fingerprint {found[:12]}",
            "name the gallery's own by IMAGE_RETRIEVAL_MODEL, or bring its files back as they were",
        )
    return Finding("ok", "model", f"{model} is the gallery's encoder")


async def _files(connection: Connection, upload_dir: Path) -> Finding:
    missing: list[str] = []
    count = 0
    async for image, root in picture_places(connection):
        count += 1
        try:
            picture_path(image, root, upload_dir)  # nothing else runs meanwhile, so no thread is worth it
        except GalleryFileMissingError:
            missing.append(f"{image.collection}/{image.uri}")
    if missing:
        named = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
        return Finding(
            "problem",
            "files",
            f"{len(missing)} of {count} pictures have no file any more: {named}",
            "bring the files back, or index the folder that they moved to, or delete the pictures",
        )
    return Finding("ok", "files", f"all {count} are there")


def _shared_memory(database_url: str) -> list[Finding]:
    """Look at /dev/shm if the database is on this machine: a parallel index build needs room there."""
    # the kernel's, not a place for temporary files
    folder = Path("/dev/shm")  # noqa: S108  # nosec B108
    host = host_of(database_url)
    if not folder.exists() or not (host.startswith("/") or is_loopback(host)):
        return []
    size = shutil.disk_usage(folder).total
    if size >= ENOUGH_SHARED_MEMORY_BYTES:
        return [Finding("ok", "shared memory", f"{size / 1e6:.0f} MB")]
    return [
        Finding(
            "warning",
            "shared memory",
            f"{folder} has {size / 1e6:.0f} MB; building an index in parallel may fail there",
            "give the container more: shm_size in docker-compose.yml, --shm-size for docker run",
        )
    ]


def _disk(settings: Settings) -> list[Finding]:
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB free for {settings.data_dir}"
    if free < ENOUGH_DISK_BYTES:
        return [Finding("warning", "disk", message, "make room, or move it: IMAGE_RETRIEVAL_DATA_DIR")]
    return [Finding("ok", "disk", message)]


async def _access(connection: Connection, settings: Settings) -> Finding:
    """Look at who may write over HTTP."""
    keys = [key for key in await list_keys(connection) if key.revoked_at is None]
    writers = sum(allows(key.scope, "write") for key in keys) + (settings.write_key is not None)
    if is_loopback(settings.host) and settings.loopback_writes:
        return Finding("ok", "access", f"this machine alone, and {len(keys)} keys")
    if not writers:
        return Finding(
            "warning",
            "access",
            "there is no key that may write: the service would refuse every upload and deletion",
            "image-retrieval keys create --name … --scope write",
        )
    return Finding("ok", "access", f"{len(keys)} keys; uploads and deletions need one that may write")


async def _searches(connection: Connection, settings: Settings) -> Finding:
    """Look at the role in which the service would search; the connection's own is given up for it."""
    if settings.read_database_url is None:
        return await _reader(connection)
    try:
        async with await Connection.connect(settings.read_database_url, autocommit=True) as other:
            return await _reader(other)
    except psycopg.OperationalError as error:
        remedy = "start it, or correct IMAGE_RETRIEVAL_READ_DATABASE_URL"
        return Finding("problem", "searches", str(error).strip(), remedy)


async def _reader(connection: Connection) -> Finding:
    await become_reader(connection)
    if not await may_change(connection):
        return Finding("ok", "searches", "they run in a role that can change nothing")
    return Finding(
        "warning",
        "searches",
        f"they run with all rights of {connection.info.user}, in read-only transactions",
        f"as an administrator of the database: create role {READER}; grant {READER} to"
        f" {connection.info.user}; then, as {connection.info.user}: select image_retrieval.grant_reading()",
    )
