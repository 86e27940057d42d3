"""The table api_keys: one function a statement."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from db.connection import Connection
from db.errors import KeyConflictError


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is stored; revoked_at is None while it is good."""

    id: str
    name: str
    scope: str
    secret_hash: bytes
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def store_key(connection: Connection, key_id: str, name: str, scope: str, secret_hash: bytes) -> None:
    """Store a new key.

    Raises:
        KeyConflictError: a key that is not revoked has this name.
    """
    try:
        await connection.execute(
            "insert into api_keys (id, name, scope, secret_hash) values (%s, %s, %s, %s)",
            (key_id, name, scope, secret_hash),
        )
    except psycopg.errors.UniqueViolation as error:
        raise KeyConflictError(
            f"there is a key named {name!r} already; revoke it, or take another name"
        ) from error


async def find_key(connection: Connection, key_id: str) -> KeyRow | None:
    """Return the key of this id, revoked or not."""
    async with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(
            """
            select id, name, scope, secret_hash, created_at, last_used_at, revoked_at
            from api_keys
            where id = %s
            """,
            (key_id,),
        )
        return await cursor.fetchone()


async def list_keys(connection: Connection) -> list[KeyRow]:
    """Return every key there ever was, the oldest first."""
    async with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(
            """
            select id, name, scope, secret_hash, created_at, last_used_at, revoked_at
            from api_keys
            order by created_at, id
            """
        )
        return await cursor.fetchall()


async def note_key_use(connection: Connection, key_id: str) -> None:
    """Note that a key was used now."""
    await connection.execute("update api_keys set last_used_at = now() where id = %s", (key_id,))


async def revoke_key(connection: Connection, named: str) -> KeyRow | None:
    """Revoke the key of this id, else the good one of this name; return it, or None if there is none."""
    async with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(
            """
            update api_keys
            set revoked_at = now()
            where revoked_at is null and (id = %(named)s or name = %(named)s)
              and (id = %(named)s or not exists (select from api_keys where id = %(named)s))
            returning id, name, scope, secret_hash, created_at, last_used_at, revoked_at
            """,
            {"named": named},
        )
        return await cursor.fetchone()
