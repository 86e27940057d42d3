"""`image-retrieval judgements …`: say which pictures fit a question, and take it along for training."""

from pathlib import Path
from uuid import UUID

import click

from app.running import run_async
from app.settings import Settings


@click.group()
def judgements() -> None:
    """Say which pictures fit a question, and train on it."""


@judgements.command()
@click.argument("text")
@click.option("--more", type=click.UUID, multiple=True, help="A picture that fits; may be given again.")
@click.option("--less", type=click.UUID, multiple=True, help="A picture that does not; may be given again.")
def add(text: str, more: tuple[UUID, ...], less: tuple[UUID, ...]) -> None:
    """Note which pictures of the gallery fit the question TEXT, and which do not."""
    from app.judgements import judge
    from app.service import open_pool  # heavy: verbs that need no database start without it

    settings = Settings.from_env()

    async def run() -> None:
        async with open_pool(settings) as pool, pool.connection() as connection:
            await judge(connection, text, more=more, less=less, max_text_chars=settings.max_text_chars)

    run_async(run())
    click.echo(f"noted: {len(more)} that fit, {len(less)} that do not")


@judgements.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--collection", help="Of pictures of this collection.")
def export(file: Path, collection: str | None) -> None:
    """Write the pictures that fit, and their questions, as captions that `train` reads."""
    from app.judgements import export_judgements
    from app.service import open_pool

    async def run() -> int:
        async with open_pool(Settings.from_env()) as pool, pool.connection() as connection:
            return await export_judgements(connection, file, collection)

    click.echo(f"wrote {run_async(run())} pairs to {file}")
