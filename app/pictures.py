"""A picture of the gallery as a file: the original, and a thumbnail that is made once and kept."""

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from uuid import UUID

from app.errors import ImageNotFoundError
from app.service import Service
from app.uploads import picture_path
from db.gallery import ImageRow, find_image
from embedding.images import decode_image, thumbnail

THUMBNAIL_PX = 384

logger = logging.getLogger(__name__)


async def find_picture(service: Service, image_id: UUID) -> tuple[ImageRow, Path]:
    """Return a picture and where its file is.

    Raises:
        ImageNotFoundError: no picture of this id.
        GalleryFileMissingError: its file is gone, or out of bounds.
    """
    async with service.pool.connection() as connection:
        found = await find_image(connection, image_id)
    if found is None:
        raise ImageNotFoundError(f"there is no picture {image_id} in the gallery")
    image, root = found
    return image, await asyncio.to_thread(picture_path, image, root, service.upload_dir)


async def reduced_picture(service: Service, image_id: UUID, longest_px: int) -> bytes:
    """Return a picture re-encoded as JPEG, its longest side at most this, without the original's metadata.

    Raises:
        what find_picture raises; ImageError: the file is no longer the picture that was indexed.
    """
    image, path = await find_picture(service, image_id)
    return await asyncio.to_thread(_reduce, path, image.uri, longest_px, service.settings.max_pixels)


async def find_thumbnail(service: Service, image_id: UUID) -> Path | bytes:
    """Return the file of a picture's thumbnail (JPEG), made on first use; where it cannot be kept, its bytes.

    Raises as reduced_picture does.
    """
    kept = _kept(service, image_id)
    if not await asyncio.to_thread(kept.exists):
        jpeg = await reduced_picture(service, image_id, THUMBNAIL_PX)
        try:
            await asyncio.to_thread(_write_whole, kept, jpeg)
        except OSError as error:  # a full disk, say, is no reason to show nothing
            logger.warning("a thumbnail cannot be kept: %s", error)
            return jpeg
    return kept


async def forget_thumbnail(service: Service, image_id: UUID) -> None:
    """Delete a picture's thumbnail, if there is one."""
    try:
        await asyncio.to_thread(_kept(service, image_id).unlink, missing_ok=True)
    except OSError as error:  # nobody is sent one of a picture that is gone
        logger.warning("a thumbnail cannot be deleted: %s", error)


def _kept(service: Service, image_id: UUID) -> Path:
    return service.thumbnail_dir / image_id.hex[:2] / f"{image_id.hex}.jpg"


def _reduce(path: Path, name: str, longest_px: int, max_pixels: int) -> bytes:
    image = decode_image(path.read_bytes(), name=name, max_pixels=max_pixels, enough_px=longest_px)
    return thumbnail(image, longest_px)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
