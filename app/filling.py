"""Another encoder's vectors of the pictures that are there, made beside live search; resumable."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL import Image

from app.embedding_index import build_index_after_load, drop_index_before_load
from app.errors import GalleryFileMissingError
from app.index_report import Failure
from app.indexing import batch_size_for
from app.progress import NoProgress, Progress
from app.reading import enough_px_for
from app.uploads import picture_path
from db.connection import Pool
from db.encoders import count_unseen, note_filled, store_embeddings, unseen_images
from db.gallery import ImageRow
from db.storing import image_id, patient_transaction
from embedding.encoder import Encoder
from embedding.errors import ImageError
from embedding.images import decode_image
from embedding.pixel_budget import MAX_PIXELS

Decoded = tuple[UUID, Image.Image] | Failure


@dataclass(slots=True)
class FillReport:
    """What became of the pictures that the encoder had not seen."""

    filled: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    index_built: bool = False

    def summary(self) -> str:
        """Return it for people: one line, and every failure."""
        lines = [f"filled {self.filled:,}, failed {len(self.failed):,}; {self.seconds:,.1f} s"]
        return "\n".join(lines + [f"failed: {failure.error}" for failure in self.failed])


async def fill_encoder(
    encoder: Encoder,
    encoder_id: int,
    *,
    pool: Pool,
    upload_dir: Path,
    max_pixels: int = MAX_PIXELS,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> FillReport:
    """Store an encoder's vectors of all pictures that lack them, then build its index; searches go on.

    Killed and run again, it goes on where it was. A picture whose file is gone, broken, or another one by now
    is a failure in the report, is tried again the next time, and costs the others nothing.

    Args:
        encoder: whose vectors are stored.
        encoder_id: its id in the gallery.
        pool: of two connections or more.
        upload_dir: where uploads lie.
        max_pixels: the largest picture decoded.
        batch_size: pictures encoded at once, and stored in one transaction; None suits the encoder's device.
        progress: who is told how far it is.
    """
    started = time.perf_counter()
    progress = progress or NoProgress()
    async with pool.connection() as connection:
        unseen = await count_unseen(connection, encoder_id)
    await drop_index_before_load(pool, encoder_id, unseen)
    progress.begin("filling", unseen)
    report = FillReport()
    pictures = _Pictures(
        pool,
        encoder_id,
        upload_dir,
        max_pixels,
        batch_size or batch_size_for(encoder),
        enough_px_for(encoder),
    )
    upcoming = asyncio.create_task(pictures.next_batch())
    try:
        while batch := await upcoming:
            upcoming = asyncio.create_task(pictures.next_batch())  # decoded while this one is encoded
            await _store(batch, encoder, encoder_id, pool, report)
            progress.advance(len(batch))
    finally:
        upcoming.cancel()
    report.index_built = await build_index_after_load(pool, encoder_id, encoder.dimension, progress)
    async with pool.connection() as connection:
        await note_filled(connection, encoder_id)
    report.seconds = time.perf_counter() - started
    return report


class _Pictures:
    """The pictures that an encoder has not seen, read and decoded batch after batch, by id."""

    def __init__(
        self, pool: Pool, encoder_id: int, upload_dir: Path, max_pixels: int, batch_size: int, enough_px: int
    ) -> None:
        self.pool, self.encoder_id, self.upload_dir = pool, encoder_id, upload_dir
        self.max_pixels, self.batch_size, self.enough_px = max_pixels, batch_size, enough_px
        self.after: UUID | None = None

    async def next_batch(self) -> list[Decoded]:
        async with self.pool.connection() as connection:
            found = await unseen_images(connection, self.encoder_id, after=self.after, limit=self.batch_size)
        if found:
            self.after = found[-1][0].id
        return await asyncio.gather(*(asyncio.to_thread(self._decode, image, root) for image, root in found))

    def _decode(self, image: ImageRow, root: str | None) -> Decoded:
        name = f"{image.collection}/{image.uri}"
        try:
            data = picture_path(image, root, self.upload_dir).read_bytes()
            if image_id(image.collection, data) != image.id:
                return Failure(name, f"{name}: the file holds another picture by now; index its folder again")
            decoded = decode_image(data, name=name, max_pixels=self.max_pixels, enough_px=self.enough_px)
        except (GalleryFileMissingError, ImageError, OSError) as error:
            return Failure(name, str(error))
        return image.id, decoded


async def _store(
    batch: list[Decoded], encoder: Encoder, encoder_id: int, pool: Pool, report: FillReport
) -> None:
    """Encode and store what could be decoded; a vector that is none fails alone."""
    report.failed += [one for one in batch if isinstance(one, Failure)]
    decoded = [one for one in batch if not isinstance(one, Failure)]
    if not decoded:
        return
    ids = [id_ for id_, _ in decoded]
    embeddings = await asyncio.to_thread(encoder.encode_images, [image for _, image in decoded])
    sound = np.abs(np.linalg.norm(embeddings, axis=1) - 1) < 0.01  # False for NaN too
    for id_, is_sound in zip(ids, sound, strict=True):
        if not is_sound:
            report.failed.append(Failure(str(id_), f"{id_}: the encoder made no unit vector of it"))
    kept = [id_ for id_, is_sound in zip(ids, sound, strict=True) if is_sound]
    async with pool.connection() as connection, patient_transaction(connection):
        report.filled += await store_embeddings(connection, encoder_id, kept, embeddings[sound])
