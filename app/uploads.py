"""Pictures that come by upload: into the managed store and the gallery, and out of both; where files lie.

The store is content-addressed: <upload_dir>/ab/<SHA-256 of the bytes>.<suffix>. A file is whole and on disk
before there is a row for it, and a row is gone before its file, so that no crash leaves a row without a file.
It may leave a file without a row, which does no harm: the same picture uploaded again takes it over; and half
of a file under another name, which sweep_unfinished takes away.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from PIL import Image

from app.captions import clean_captions
from app.errors import GalleryFileMissingError, StoreFailedError, UploadRefusedError
from app.reading import read_picture
from db.connection import Pool
from db.gallery import Caption, Embedding, ImageRow, find_image, is_uploaded_file_used
from db.storing import (
    claim_collection,
    delete_images,
    is_taken,
    replace_attributes,
    replace_captions,
    store_images,
    taking_turns,
)

SUFFIXES: Mapping[str, str] = {"jpeg": "jpg", "tiff": "tif"}
"""Where the customary suffix is not the format's name."""
UNFINISHED = ".part"

logger = logging.getLogger(__name__)

EncodeImage = Callable[[Image.Image], Awaitable[Embedding]]

# Each decoding may take the memory of max_pixels, so only as many at once as there are cores.
_decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode-upload")


async def add_image(
    data: bytes,
    *,
    name: str = "the uploaded picture",
    captions: Sequence[Caption] = (),
    attributes: Mapping[str, Any] | None = None,
    collection: str,
    encode_image: EncodeImage,
    pool: Pool,
    encoder_id: int,
    upload_dir: Path,
    max_pixels: int,
) -> tuple[ImageRow, bool]:
    """Take a picture into a collection of uploads; return its row, and whether it is new there.

    A picture that is there keeps its captions and attributes, unless others come with it: those replace them.

    Args:
        data: the file.
        name: what messages call it.
        captions: what is said of it, in order.
        attributes: a JSON object to filter on.
        collection: made unless it is there.
        encode_image: from an RGB picture to float32 (d,), unit length.
        pool: as ever.
        encoder_id: whose vectors encode_image makes.
        upload_dir: the store.
        max_pixels: the largest picture decoded.

    Raises:
        ImageError: it cannot be decoded.
        UploadRefusedError: its captions, attributes or collection cannot be stored.
        CollectionConflictError: the collection is a folder indexed in place.
        StoreFailedError: its file cannot be written.
        EncoderBusyError: from encode_image.
    """
    if not collection.strip():
        raise UploadRefusedError(f"{name}: the collection has no name")
    captions = clean_captions(captions, name=name)
    image, row = await asyncio.get_running_loop().run_in_executor(
        _decoders, lambda: read_picture(data, collection=collection, uri=name, max_pixels=max_pixels)
    )
    embedding = await encode_image(image)
    if not abs(np.linalg.norm(embedding) - 1) < 0.01:  # NaN too
        raise UploadRefusedError(f"{name}: the encoder makes no unit vector of it")
    digest = hashlib.sha256(data).hexdigest()
    uri = f"{digest[:2]}/{digest}.{SUFFIXES.get(row.format, row.format)}"
    row = replace(row, uri=uri, attributes=dict(attributes or {}))
    try:
        async with pool.connection() as connection, taking_turns(connection, uri), connection.transaction():
            await claim_collection(connection, collection, root=None)
            created = await find_image(connection, row.id) is None
            await asyncio.to_thread(_write_durably, upload_dir / uri, data)
            await store_images(connection, encoder_id, [row], [captions], embedding[None])
            if not created and captions:
                await replace_captions(connection, {row.id: captions})
            if not created and attributes:
                await replace_attributes(connection, row.id, attributes)
            found = await find_image(connection, row.id)
    except psycopg.DataError as error:
        raise UploadRefusedError(f"{name}: its attributes or collection cannot be stored: {error}") from error
    assert found is not None  # nobody deletes it while we hold its turn
    return found[0], created


async def remove_image(pool: Pool, image_id: UUID, upload_dir: Path) -> bool:
    """Take a picture out of the gallery, and its file out of the store; return whether there was one.

    A file that another collection's row uses stays, and so does every file of a folder indexed in place.
    """
    async with pool.connection() as connection:
        found = await find_image(connection, image_id)
        if found is None:
            return False
        image, root = found
        async with taking_turns(connection, image.uri):
            removed = await delete_images(connection, [image_id]) > 0
            if root is None and not await is_uploaded_file_used(connection, image.uri):
                try:
                    await asyncio.to_thread(picture_path(image, root, upload_dir).unlink, missing_ok=True)
                except GalleryFileMissingError:
                    pass
                except OSError as error:  # without a row it does no harm
                    logger.warning("the file of a deleted picture stays: %s", error)
    return removed


async def sweep_unfinished(pool: Pool, upload_dir: Path) -> int:
    """Delete what uploads left half written when their process was killed; return how many files that were.

    An upload that is under way in another process has its turn, and keeps its file.
    """
    swept = 0
    for path in await asyncio.to_thread(lambda: list(upload_dir.glob(f"*/*{UNFINISHED}"))):
        uri = f"{path.parent.name}/{path.name.rsplit('.', 2)[0]}"
        async with pool.connection() as connection:
            if await is_taken(connection, uri):
                continue
        with suppress(OSError):  # a store that may only be read is no reason not to serve it
            await asyncio.to_thread(path.unlink)
            swept += 1
    return swept


def picture_path(image: ImageRow, root: str | None, upload_dir: Path) -> Path:
    """Return where a picture's file is, links followed; never outside its collection's root or the store.

    Raises:
        GalleryFileMissingError: there is no file, or it is outside.
    """
    place = (upload_dir if root is None else Path(root)).resolve()
    path = (place / image.uri).resolve()
    if not path.is_relative_to(place):
        raise GalleryFileMissingError(
            f"{image.collection}/{image.uri} leads out of its folder and is not served; mend the link"
        )
    if not path.is_file():
        raise GalleryFileMissingError(
            f"the file of {image.collection}/{image.uri} is gone; put it back, or delete the picture"
        )
    return path


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file that is there whole, whatever happens, or not at all; nothing to do if it is there.

    Raises:
        StoreFailedError: it cannot be written.
    """
    with _failing_plainly():
        if path.exists() and path.stat().st_size == len(data):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for folder in (path.parent, path.parent.parent):  # the second holds the first's own entry
            _sync_folder(folder)


@contextmanager
def _failing_plainly() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailedError(
            f"the picture's file cannot be written ({error.strerror or error}); once there is room on the"
            " disk of the data folder, and it may be written, upload it again"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
