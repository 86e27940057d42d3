"""`image-retrieval normalise` and `duplicates`: what is worked out over a whole gallery."""

import asyncio
from itertools import groupby
from typing import Any

import click
import msgspec

from app.running import run_async
from app.settings import Settings
from db.duplicates import MAX_DISTANCE


@click.command()
@click.option(
    "--captions",
    "reference",
    type=click.IntRange(1),
    default=10_000,
    help="Captions to compare with, by chance.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def normalise(reference: int, as_json: bool) -> None:
    """Find out how near each picture is to whatever is asked, for questions with --normalise.

    Run it after indexing, and again when many pictures or captions have come; until then a picture without a
    bias counts as an average one. Stopped at any moment and run again, it goes on.
    """
    from app.normalising import normalise_gallery  # heavy: torch
    from app.progress import show_progress
    from app.service import open_encoder, open_pool
    from db.gallery import active_encoder

    settings = Settings.from_env()

    async def run() -> Any:
        async with open_pool(settings) as pool:
            async with pool.connection() as connection:
                active = await active_encoder(connection)
            encoder = await asyncio.to_thread(open_encoder, settings, active)
            with show_progress() as progress:
                return await normalise_gallery(encoder, pool, progress=progress, reference=reference)

    report = run_async(run())
    click.echo(msgspec.json.encode(report) if as_json else report.summary())


@click.command()
@click.option(
    "--max-distance",
    type=click.FloatRange(0, 2),
    default=MAX_DISTANCE,
    help="Cosine distance to the picture kept.",
)
@click.option("--collection", help="Only pictures of this collection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def duplicates(max_distance: float, collection: str | None, as_json: bool) -> None:
    """List pictures that nearly repeat each other, in stacks; the first of each is the one to keep.

    It asks once for every picture: some minutes in a gallery of 100,000. Nothing is deleted.
    """
    from app.service import open_pool
    from db.duplicates import duplicate_stacks
    from db.storing import patient_transaction

    async def run() -> Any:
        async with (
            open_pool(Settings.from_env()) as pool,
            pool.connection() as connection,
            patient_transaction(connection),
        ):
            return await duplicate_stacks(connection, max_distance=max_distance, collection=collection)

    found = run_async(run())
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for number, stack in groupby(found, key=lambda picture: picture.stack):
        click.echo(f"stack {number}")
        for picture in stack:
            click.echo(f"  {picture.distance:.4f}  {picture.collection}/{picture.uri}")
    stacks = found[-1].stack if found else 0
    click.echo(f"{stacks:,} stacks; {len(found) - stacks:,} pictures nearly repeat another one", err=True)
