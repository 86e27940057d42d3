"""API keys: what a key looks like, how one is made, and how one that is sent is recognised.

    irk_3f2a9c1d_<64 hexadecimal digits>

The eight digits name the key and are no secret; the rest is 256 random bits. Stored is the plain SHA-256 of
the whole. A slow, salted hash protects what people remember, for that can be guessed; 256 random bits cannot,
and would be no safer behind it, while anybody who sends wrong keys would keep the processor busy.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, get_args

from db.api_keys import KeyRow, find_key, note_key_use, store_key
from db.connection import Connection, Pool

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each holds those before it."""

NOTED_EVERY = timedelta(minutes=1)
_SHAPE = re.compile(r"irk_([0-9a-f]{8})_[0-9a-f]{64}", flags=re.ASCII)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only time that it is seen."""

    key: str
    id: str
    name: str
    scope: Scope


def allows(scope: str, needed: Scope) -> bool:
    """Say whether a key of this scope may do what needs that one: admin holds write, write holds read."""
    return scope in SCOPES and SCOPES.index(scope) >= SCOPES.index(needed)


async def create_key(connection: Connection, name: str, scope: Scope) -> NewKey:
    """Make a key and store its hash.

    Raises:
        KeyConflictError: a key that is not revoked has this name.
    """
    key_id = secrets.token_hex(4)
    key = f"irk_{key_id}_{secrets.token_hex(32)}"
    await store_key(connection, key_id, name, scope, _hash(key))
    return NewKey(key, key_id, name, scope)


async def recognise_key(pool: Pool, key: str) -> KeyRow | None:
    """Return the row of a key that is good, and note its use; None for any other text.

    Asked each time, so that a revoked key is refused at once: one look at a primary key. The use is written
    once a minute at most.
    """
    shape = _SHAPE.fullmatch(key)
    if shape is None:
        return None
    async with pool.connection() as connection:
        row = await find_key(connection, shape[1])
        if row is None or row.revoked_at or not hmac.compare_digest(row.secret_hash, _hash(key)):
            return None
        if row.last_used_at is None or datetime.now(UTC) - row.last_used_at > NOTED_EVERY:
            await note_key_use(connection, row.id)
    return row


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()
