"""`image-retrieval keys …`: make, list and revoke the keys that the service takes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import click
import msgspec

from app.errors import KeyNotFoundError, QuestionError
from app.keys import SCOPES, Scope, create_key
from app.settings import Settings
from db.api_keys import KeyRow, list_keys, revoke_key
from db.connection import Connection

MAX_NAME_CHARS = 100

Result = TypeVar("Result")


class ListedKey(msgspec.Struct, frozen=True):
    """A key as it is listed: everything but its hash."""

    id: str
    name: str
    scope: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that a service asks for.

    read asks questions and looks at pictures, write also adds and deletes them, admin may do everything.
    """


@keys.command()
@click.option("--name", required=True, help="Whose key it is, or what for.")
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="What it may do.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(name: str, scope: Scope, as_json: bool) -> None:
    """Make a key and print it: this once, for only its hash is kept."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise QuestionError(f"--name must be 1 to {MAX_NAME_CHARS} printable characters")
    made = _in_database(lambda connection: create_key(connection, name, scope))
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    click.echo(made.key)
    click.echo(
        f"That is the key {made.name!r} ({made.scope}). Keep it now: it is not shown again. Clients send it"
        " in the header x-api-key, or as Authorization: Bearer.",
        err=True,
    )


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(as_json: bool) -> None:
    """List the keys: whose they are, what they may do, when they were last used."""
    rows = [msgspec.convert(row, ListedKey, from_attributes=True) for row in _in_database(list_keys)]
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        used = f"last used {_minute(row.last_used_at)}" if row.last_used_at else "never used"
        state = f"revoked {_minute(row.revoked_at)}" if row.revoked_at else used
        click.echo(f"{row.id}  {row.scope:5}  made {_minute(row.created_at)}  {state}  {row.name}")
    if not rows:
        click.echo("there are no keys; make one: image-retrieval keys create --name … --scope read", err=True)


@keys.command()
@click.argument("key", metavar="ID_OR_NAME")
def revoke(key: str) -> None:
    """Refuse a key from now on."""

    async def run(connection: Connection) -> KeyRow:
        revoked = await revoke_key(connection, key)
        if revoked is None:
            raise KeyNotFoundError(
                f"no good key has the id or name {key!r}: image-retrieval keys list shows them"
            )
        return revoked

    revoked = _in_database(run)
    click.echo(f"revoked {revoked.id} ({revoked.name}, {revoked.scope})")


def _in_database(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    from app.service import open_pool  # heavy: verbs that need no database start without it

    async def run() -> Result:
        async with open_pool(Settings.from_env()) as pool, pool.connection() as connection:
            return await work(connection)

    return asyncio.run(run())


def _minute(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"
