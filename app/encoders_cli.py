"""`image-retrieval encoders …`: change the gallery's model while searches go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from app.settings import Settings

if TYPE_CHECKING:
    from db.connection import Pool
    from db.gallery import EncoderRow
    from embedding.encoder import Encoder

NOTICE_S = 15
"""How long running services have to load an encoder before it becomes the active one."""

Result = TypeVar("Result")

notice_option = click.option(
    "--notice",
    type=click.FloatRange(0),
    default=NOTICE_S,
    help="Seconds that running services have to load it beforehand.",
)


@click.group()
def encoders() -> None:
    """Change the gallery's model while searches go on.

    add, fill, evaluate, activate: in this order. rollback goes back to the encoder before at once, and drop
    forgets one with its vectors. `image-retrieval status` lists them.
    """


@encoders.command()
@click.argument("model")
@click.option("--name", help="What to call it here.  [default: the last part of MODEL]")
def add(model: str, name: str | None) -> None:
    """Make room for the vectors of MODEL, a hub name or a checkpoint folder; searches do not change."""

    async def run(pool: "Pool") -> str:
        from pathlib import Path

        from app.service import open_encoder
        from db.encoders import add_encoder
        from db.gallery import list_encoders

        encoder = await asyncio.to_thread(open_encoder, Settings.from_env().replace(model=model), None)
        async with pool.connection() as connection:
            id_ = await add_encoder(
                connection,
                name=name or Path(encoder.checkpoint).name,
                checkpoint=encoder.checkpoint,
                fingerprint=encoder.fingerprint,
                dimension=encoder.dimension,
                preprocessing=encoder.preprocessing(),
            )
            return next(row.name for row in await list_encoders(connection) if row.id == id_)

    added = _with_pool(run)
    click.echo(f"{added} is there; next: image-retrieval encoders fill {added}")


@encoders.command()
@click.argument("name")
def fill(name: str) -> None:
    """Make an encoder's vectors of every picture that lacks them.

    Stopped at any moment and run again, it goes on where it was. Run it once more before `activate`, for
    pictures that came meanwhile. The exit code is 1 if a picture could not be read.
    """

    async def run(pool: "Pool") -> bool:
        from app.filling import fill_encoder
        from app.progress import show_progress
        from db.encoders import find_encoder

        settings = Settings.from_env()
        async with pool.connection() as connection:
            row = await find_encoder(connection, name)
        encoder = await asyncio.to_thread(_open, settings, row)
        with show_progress() as progress:
            report = await fill_encoder(
                encoder, row.id, pool=pool, upload_dir=settings.data_dir / "uploads",
                max_pixels=settings.max_pixels, progress=progress,
            )  # fmt: skip
        click.echo(f"{row.name}: {report.summary()}")
        return not report.failed

    raise SystemExit(0 if _with_pool(run) else 1)


@encoders.command()
@click.argument("name")
@click.option(
    "--pictures", type=click.IntRange(2, 20_000), default=1000, help="Captioned pictures asked for."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(name: str, pictures: int, as_json: bool) -> None:
    """Ask the active encoder and this one the gallery's own captions, and say which does better."""

    async def run(pool: "Pool") -> None:
        from rich.console import Console

        from app.comparing import compare_encoders
        from app.errors import QuestionError
        from db.encoders import find_encoder
        from db.gallery import active_encoder

        settings = Settings.from_env()
        async with pool.connection() as connection:
            row, active = await find_encoder(connection, name), await active_encoder(connection)
        if active is None or active.id == row.id:
            raise QuestionError(f"{row.name} is the active encoder; name another to compare with it")
        both = [(each, await asyncio.to_thread(_open, settings, each)) for each in (active, row)]
        comparison = await compare_encoders(pool, *both, pictures=pictures)
        if as_json:
            click.echo(msgspec.json.encode(comparison.as_json()))
        else:
            Console().print(comparison.table())

    _with_pool(run)


@encoders.command()
@click.argument("name")
@notice_option
@click.option("--allow-unseen", type=click.IntRange(0), default=0, help="Pictures that may lack its vectors.")
def activate(name: str, notice: float, allow_unseen: int) -> None:
    """Make every search use this encoder, in one transaction; running services load it beforehand."""

    async def run(pool: "Pool") -> str:
        from db.encoders import find_encoder

        async with pool.connection() as connection:
            row = await find_encoder(connection, name)
        return await _switch(pool, row.id, row.name, notice, allow_unseen)

    click.echo(_with_pool(run))


@encoders.command()
@notice_option
def rollback(notice: float) -> None:
    """Go back to the encoder that was active before; fill it if pictures came since."""

    async def run(pool: "Pool") -> str:
        from db.encoders import count_unseen, previous_encoder

        async with pool.connection() as connection:
            row = await previous_encoder(connection)
            unseen = await count_unseen(connection, row.id)
        return await _switch(pool, row.id, row.name, notice, unseen)

    click.echo(_with_pool(run))


@encoders.command()
@click.argument("name")
@click.confirmation_option(prompt="Its vectors will be gone. Go on?")
def drop(name: str) -> None:
    """Forget an encoder that is not the active one, and all of its vectors; pictures and captions stay."""

    async def run(pool: "Pool") -> str:
        from db.encoders import drop_encoder, find_encoder
        from db.errors import EncoderStateError

        async with pool.connection() as connection:
            row = await find_encoder(connection, name)
            if row.state == "active":
                raise EncoderStateError(f"{row.name} is the active encoder; activate another first")
            await drop_encoder(connection, row.id)
        return f"dropped {row.name} and {row.images:,} vectors"

    click.echo(_with_pool(run))


async def _switch(pool: "Pool", encoder_id: int, name: str, notice_s: float, unseen_allowed: int) -> str:
    from db.encoders import activate_encoder, announce_encoder, refuse_unseen

    async with pool.connection() as connection:
        await refuse_unseen(connection, encoder_id, allowed=unseen_allowed)
        await announce_encoder(connection, encoder_id)
    if notice_s:
        click.echo(f"running services have {notice_s:g} s to load {name}", err=True)
        await asyncio.sleep(notice_s)
    started = time.perf_counter()
    async with pool.connection() as connection:
        unseen = await activate_encoder(connection, encoder_id, unseen_allowed=unseen_allowed)
    left = f"; {unseen:,} pictures lack its vectors: image-retrieval encoders fill {name}" if unseen else ""
    return f"{name} is active, after {1000 * (time.perf_counter() - started):.0f} ms{left}"


def _open(settings: Settings, row: "EncoderRow") -> "Encoder":
    """Load an encoder from where it was loaded before; refuse one that has changed since."""
    from app.service import open_encoder, require_fingerprint

    encoder = open_encoder(settings.replace(model=row.checkpoint), row)
    require_fingerprint(row, encoder)
    return encoder


def _with_pool(work: "Callable[[Pool], Awaitable[Result]]") -> Result:
    from app.service import open_pool  # heavy: verbs that need no database start without it

    async def run() -> Result:
        async with open_pool(Settings.from_env()) as pool:
            return await work(pool)

    return asyncio.run(run())
