"""The gallery that the page shows in its tests: drawn scenes with captions, dates and attributes."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL import Image

from app.indexing import index_folder
from app.service import Service
from db.storing import image_id, replace_attributes
from training.scenes import Scene, captions_of, draw, gallery

SCENES = gallery(80, seed=4)
DRAWINGS = SCENES[:60]
"""Indexed as the collection drawings; the other twenty are sketches."""
FIRST_DAY = datetime(2024, 1, 1, 12, tzinfo=UTC)


def caption(scene: Scene, language: str = "en") -> str:
    """Return the scene's first caption in a language."""
    return next(each.body for each in captions_of(scene) if each.language == language)


def jpeg(scene: Scene, *, seed: int = 0, taken_at: datetime | None = None) -> bytes:
    """Return a drawing of a scene; another seed draws it anew, so that no file of the gallery is the same."""
    exif = Image.Exif()
    if taken_at is not None:
        exif.get_ifd(0x8769)[0x9003] = f"{taken_at:%Y:%m:%d %H:%M:%S}"  # Exif's DateTimeOriginal
    file = BytesIO()
    draw(scene, np.random.default_rng(seed)).save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


def drawing_id(number: int) -> UUID:
    """Return the id under which the gallery has a scene's drawing."""
    return image_id(collection_of(number), indexed_file(number))


def collection_of(number: int) -> str:
    return "drawings" if number < len(DRAWINGS) else "sketches"


def indexed_file(number: int) -> bytes:
    return jpeg(SCENES[number], taken_at=FIRST_DAY + timedelta(days=number))


async def index_drawings(service: Service, folder: Path) -> None:
    """Index every scene: a day apart, each with its captions, and its place as an attribute."""
    captions: dict[str, list[str]] = {}
    for number, scene in enumerate(SCENES):
        path = folder / collection_of(number) / f"scene-{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(indexed_file(number))
        captions[path.name] = [each.body for each in captions_of(scene)]
    for collection in ("drawings", "sketches"):
        report = await index_folder(
            folder / collection,
            encoder=service.encoder,
            pool=service.writing_pool,
            collection=collection,
            captions=captions,
        )
        assert not report.failed, report.failed
    async with service.writing_pool.connection() as connection:
        for number, scene in enumerate(SCENES):
            await replace_attributes(connection, drawing_id(number), {"place": scene.place})
