"""The demo: the whole product on a drawn world, in a folder and a database of its own."""

import asyncio
import time
from io import BytesIO
from pathlib import Path

import click
import msgspec
import numpy as np

from app.indexing import index_folder
from app.progress import show_progress
from app.search import Question, search
from app.server import run_server
from app.service import Service, open_encoder, open_service
from app.settings import Settings
from app.terms import words_and_picture
from training.captions import load_flickr8k_captions
from training.scenes import captions_of, draw, gallery, write_gallery
from training.scenes_encoder import train_scenes_encoder

GALLERY_SIZE = 300
GALLERY_SEED = 2025
DESCRIBED, SHOWN = 17, 42
"""Numbers of the scenes that the questions describe and show."""
ADDED = "in the snow"
"""What the question in words and by a picture adds to the picture."""


def run_demo(settings: Settings, *, then_serve: bool) -> None:
    """Draw, train, index, ask, serve; what was done before is kept in <data folder>/demo.

    DATABASE_URL is ignored: the demo has a database of its own, and never touches the user's gallery.
    """
    settings = own_settings(settings)
    click.echo(f"The demo keeps its files and its own database in {settings.data_dir}")
    folder = settings.data_dir / "scenes"
    scenes = gallery(GALLERY_SIZE, GALLERY_SEED)
    write_gallery(folder, scenes, seed=GALLERY_SEED)
    click.echo(f"{len(scenes)} drawn scenes with English and Vietnamese captions are in {folder}")

    started = time.monotonic()
    checkpoint = train_scenes_encoder(settings.data_dir / "scenes-encoder")
    click.echo(
        f"A small CLIP, trained on other scenes, is in {checkpoint} ({time.monotonic() - started:.0f} s)"
    )

    settings = settings.replace(model=str(checkpoint))
    asyncio.run(_index_and_ask(settings, folder))
    click.echo(
        "\nThis small encoder knows only this drawn world. For photos of your own, with a real one:\n"
        "  image-retrieval index ~/Pictures --model openai/clip-vit-base-patch32\n"
        '  image-retrieval search --text "a dog on the beach"'
    )
    if then_serve:
        click.echo()
        run_server(settings)


def own_settings(settings: Settings) -> Settings:
    """Return the settings with a data folder and a database of the demo's own."""
    return msgspec.structs.replace(
        settings, data_dir=settings.data_dir / "demo", database_url=None, read_database_url=None, model=None
    )


async def _index_and_ask(settings: Settings, folder: Path) -> None:
    encoder = await asyncio.to_thread(open_encoder, settings, None)
    async with open_service(settings, encoder) as service:
        captions = load_flickr8k_captions(folder / "captions.txt")
        with show_progress() as progress:
            report = await index_folder(
                folder, encoder=encoder, pool=service.writing_pool, captions=captions, progress=progress
            )
        click.echo(report.summary())
        await _ask(service)


async def _ask(service: Service) -> None:
    """Ask in words (English, Vietnamese), with a picture, and with both; print the ranked rows."""
    scenes = gallery(GALLERY_SIZE, GALLERY_SEED)
    words = {caption.language: caption.body for caption in captions_of(scenes[DESCRIBED])}
    redrawn = BytesIO()  # drawn anew: no file of the gallery is the same
    draw(scenes[SHOWN], np.random.default_rng(7)).save(redrawn, "PNG")
    shown = f"a new drawing of {captions_of(scenes[SHOWN])[0].body}"
    for title, terms in (
        (f'In words: "{words["en"]}"', words_and_picture(text=words["en"])),
        (f'In Vietnamese: "{words["vi"]}"', words_and_picture(text=words["vi"])),
        (f"By a picture: {shown}", words_and_picture(picture=redrawn.getvalue())),
        (f'By both: {shown}, and "{ADDED}"', words_and_picture(text=ADDED, picture=redrawn.getvalue())),
    ):
        answer = await search(service, Question(terms))
        click.echo(f"\n{title}  ({answer.total_ms:.0f} ms)")
        for hit in answer.hits:
            click.echo(f"  {hit.rank}  {hit.score:.3f}  {hit.uri}  {hit.captions[0]}")
