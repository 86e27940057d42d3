"""The write path, whole: files -> looked up -> decoded -> encoded -> COPY.

Three stages run at once, with bounded queues between them:

    look up   read and hash a group of files, ask the gallery which it has, have threads decode the others
    encode    batch after batch, in a thread of its own; the next is decoded meanwhile, so it never waits
    store     each batch in one transaction

Files keep their order. A run that is killed has stored whole batches and nothing else; the next one knows
their pictures by their content and goes on behind them. In memory are at most one file and one picture of
max_pixels for each decoding thread, and two batches of decoded pictures, reduced to what the encoder needs
(for an input of 224 pixels 1 to 3 MB each).
"""

import asyncio
import os
import time
from asyncio import Future
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import numpy as np
from PIL import Image

from app.captions import match_captions
from app.embedding_index import build_index_after_load, drop_index_before_load
from app.folder import find_pictures
from app.index_report import Failure, IndexReport
from app.progress import NoProgress, Progress
from app.reading import enough_px_for, read_picture
from app.service import claim
from db.connection import Connection, Pool
from db.gallery import Caption, Embedding, ImageRow, collection_roots, images_at, known_images
from db.storing import (
    claim_collection,
    delete_replaced,
    image_id,
    move_image,
    patient_transaction,
    replace_captions,
    store_images,
)
from embedding.encoder import Encoder
from embedding.errors import ImageError, ImageTooLargeError
from embedding.pixel_budget import MAX_PIXELS

CPU_BATCH_SIZE, GPU_BATCH_SIZE = 64, 256
GROUP_SIZE = 64
"""Files looked up in one go."""
MAX_FILE_BYTES = 500_000_000
"""A larger file is not read: 50 megapixels of 16-bit red, green, blue and alpha take 400 MB."""

Result = TypeVar("Result")
Decoded = tuple[Image.Image, ImageRow] | Failure


async def index_folder(
    path: Path,
    *,
    encoder: Encoder,
    pool: Pool,
    collection: str | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
    max_pixels: int = MAX_PIXELS,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring the gallery up to date with the pictures in a folder and below it, or with one picture file.

    The content is the key: a picture that is there is not encoded again, one whose file moved keeps its row,
    and of two equal files the first has the row and the captions. A picture whose file has gone stays in the
    gallery. A file that cannot be used is a failure in the report and costs the others nothing. Cancelled or
    killed, what was stored stays, and running it again finishes the rest.

    Args:
        path: a folder or a file; how pictures are found is told in app.folder.
        encoder: whose vectors are stored.
        pool: of two connections or more.
        collection: by default the one whose root is path or above it, else a new one, named after the folder.
        captions: bodies by picture name, matched as told in app.captions; pictures it names get these
            captions instead of those they had, the others keep theirs.
        max_pixels: the largest picture decoded.
        batch_size: pictures encoded at once, and stored in one transaction; None suits the encoder's device.
        progress: who is told how far it is.

    Raises:
        FileNotFoundError: there is nothing at path.
        EncoderMismatchError: the gallery is another encoder's.
        CollectionConflictError: the collection's name is taken by another folder, or by uploads.
        psycopg.Error, psycopg_pool.PoolTimeout: the database failed; whole batches stored before stay.
    """
    started = time.perf_counter()
    progress = progress or NoProgress()
    batch_size = batch_size or batch_size_for(encoder)
    path = await asyncio.to_thread(path.resolve, strict=True)
    async with pool.connection() as connection:
        encoder_id = await claim(connection, encoder)
        collection, root = await _claim_place(connection, path, collection)
    uris, unusable = await asyncio.to_thread(find_pictures, path, root)
    matched = await asyncio.to_thread(match_captions, captions or {}, uris, path=path, root=root)
    await drop_index_before_load(pool, encoder_id, len(uris))

    progress.begin("indexing", len(uris))
    run = _Run(pool, encoder, encoder_id, collection, root, matched.by_uri, max_pixels, batch_size, progress)
    loading = time.perf_counter()
    await run.finish(uris)
    load_s = time.perf_counter() - loading
    async with pool.connection() as connection, patient_transaction(connection):
        replaced = await delete_replaced(connection, run.replaced)
    index_built = await build_index_after_load(pool, encoder_id, encoder.dimension, progress)
    return IndexReport(
        collection=collection,
        indexed=run.indexed,
        already_there=run.already_there,
        moved=run.moved,
        replaced=replaced,
        captions_updated=run.captions_updated,
        captions_without_picture=matched.without_picture,
        failed=[*unusable, *matched.failed, *run.failed],
        seconds=time.perf_counter() - started,
        images_per_second=run.indexed / load_s,
        index_built=index_built,
    )


def batch_size_for(encoder: Encoder) -> int:
    """Return how many pictures to encode at once: enough to keep its device busy, few enough to hold."""
    return CPU_BATCH_SIZE if encoder.device == "cpu" else GPU_BATCH_SIZE


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pictures to be stored; embeddings are float32 (n, d), unit rows."""

    rows: list[ImageRow]
    embeddings: Embedding


class _Run:
    """One run's threads, queues and counts; its stages are methods, in the order a file meets them."""

    def __init__(
        self, pool: Pool, encoder: Encoder, encoder_id: int, collection: str, root: Path,
        captions: Mapping[str, list[Caption]], max_pixels: int, batch_size: int, progress: Progress,
    ) -> None:  # fmt: skip
        self.pool, self.encoder, self.encoder_id = pool, encoder, encoder_id
        self.collection, self.root, self.captions = collection, root, captions
        self.max_pixels, self.batch_size, self.progress = max_pixels, batch_size, progress
        self.enough_px = enough_px_for(encoder)
        self.indexed = self.already_there = self.moved = self.captions_updated = 0
        self.failed: list[Failure] = []
        self.replaced: list[tuple[UUID, str, UUID]] = []
        """(picture, its uri, the picture that is there now), to be deleted when every file has been seen:
        until then another file may turn out to be where the picture has moved to."""
        self._decoding: asyncio.Queue[Future[Decoded] | None] = asyncio.Queue(batch_size)
        self._encoded: asyncio.Queue[_Batch | None] = asyncio.Queue(1)
        self._on_the_way: set[UUID] = set()

    async def finish(self, uris: Sequence[str]) -> None:
        """Bring these files into the gallery; the first error of a stage ends the run."""
        with (
            _threads(_usable_cores(), "decode") as self._decoders,
            _threads(1, "encode") as self._encoder_thread,
        ):
            try:
                async with asyncio.TaskGroup() as stages:
                    stages.create_task(self._look_up(uris))
                    stages.create_task(self._encode())
                    stages.create_task(self._store())
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors.exceptions[0].__cause__

    async def _look_up(self, uris: Sequence[str]) -> None:
        """Hand the files that the gallery does not have to the decoders, as many as the queue takes."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(uris), GROUP_SIZE):
            for uri in await self._new_among(uris[start : start + GROUP_SIZE]):
                await self._decoding.put(loop.run_in_executor(self._decoders, self._decode, uri))
        await self._decoding.put(None)

    async def _new_among(self, uris: Sequence[str]) -> list[str]:
        """Return those to be decoded; note of the others where they are now, and what is said of them."""
        hashed = await asyncio.gather(*(self._in_decoder(self._hash, uri) for uri in uris))
        found: dict[str, UUID] = {}
        for uri, result in zip(uris, hashed, strict=True):
            if isinstance(result, Failure):
                self._fail(result)
            else:
                found[uri] = result
        async with self.pool.connection() as connection:
            known = await known_images(connection, self.encoder_id, list(found.values()))
            there = await images_at(connection, self.collection, list(found))
        new: list[str] = []
        moved: dict[UUID, str] = {}
        said: dict[UUID, list[Caption]] = {}
        for uri, id_ in found.items():
            self.replaced += [(other, uri, id_) for other in there.get(uri, ()) if other != id_]
            picture = known.get(id_)
            if picture is None:
                new.append(uri)
                continue
            stored_uri = moved.get(id_, picture.uri)
            if stored_uri != uri:
                if await self._in_decoder(self._hash, stored_uri) == id_:
                    self._count_there(1)  # a copy: row and captions are the other file's
                    continue
                moved[id_] = uri
            if uri in self.captions and [caption.body for caption in self.captions[uri]] != picture.captions:
                said[id_] = self.captions[uri]
            if picture.encoded:
                self._count_there(1)
            else:
                new.append(uri)
        await self._update(moved, said)
        return new

    async def _update(self, moved: Mapping[UUID, str], said: Mapping[UUID, list[Caption]]) -> None:
        if not moved and not said:
            return
        async with self.pool.connection() as connection:
            for id_, uri in moved.items():
                await move_image(connection, id_, uri)
            await replace_captions(connection, said)
        self.moved += len(moved)
        self.captions_updated += len(said)

    async def _encode(self) -> None:
        """Gather pictures that are decoded, in order, and encode them batch by batch."""
        loop = asyncio.get_running_loop()
        more = True
        while more:
            images: list[Image.Image] = []
            rows: list[ImageRow] = []
            while len(rows) < self.batch_size and (
                more := (decoding := await self._decoding.get()) is not None
            ):
                decoded = await decoding
                if isinstance(decoded, Failure):
                    self._fail(decoded)
                elif decoded[1].id in self._on_the_way:
                    self._count_there(1)  # a copy of one that is being encoded or stored
                else:
                    images.append(decoded[0])
                    rows.append(decoded[1])
                    self._on_the_way.add(decoded[1].id)
            if rows:
                embeddings = await loop.run_in_executor(
                    self._encoder_thread, self.encoder.encode_images, images
                )
                await self._encoded.put(_Batch(rows, embeddings))
        await self._encoded.put(None)

    async def _store(self) -> None:
        """Store batches as they come; a vector that is none fails alone."""
        while (batch := await self._encoded.get()) is not None:
            sound = np.abs(np.linalg.norm(batch.embeddings, axis=1) - 1) < 0.01  # False for NaN too
            for row in (row for row, is_sound in zip(batch.rows, sound, strict=True) if not is_sound):
                self._fail(self._failure(row.uri, "the encoder made no unit vector of it"))
            rows = [row for row, is_sound in zip(batch.rows, sound, strict=True) if is_sound]
            captions = [self.captions.get(row.uri, []) for row in rows]
            async with self.pool.connection() as connection, patient_transaction(connection):
                new = await store_images(connection, self.encoder_id, rows, captions, batch.embeddings[sound])
            self._on_the_way.difference_update(row.id for row in batch.rows)
            self.indexed += len(new)
            self.progress.advance(len(new))
            self._count_there(len(rows) - len(new))  # another process was quicker

    def _hash(self, uri: str) -> UUID | Failure:
        try:
            return image_id(self.collection, self._read(uri))
        except (ImageError, OSError) as error:
            return self._failure(uri, error)

    def _decode(self, uri: str) -> Decoded:
        """Read the file again, rather than keep it since it was hashed: the page cache has it, in bounds."""
        try:
            return read_picture(
                self._read(uri), collection=self.collection, uri=uri, max_pixels=self.max_pixels,
                enough_px=self.enough_px,
            )  # fmt: skip
        except (ImageError, OSError) as error:
            return self._failure(uri, error)

    def _read(self, uri: str) -> bytes:
        path = self.root / uri
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise ImageTooLargeError(f"{uri}: {size_bytes:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()

    def _in_decoder(self, work: Callable[[str], Result], uri: str) -> Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._decoders, work, uri)

    def _failure(self, uri: str, error: ImageError | OSError | str) -> Failure:
        if not isinstance(error, ImageError):  # which names the file itself
            error = f"{uri}: {getattr(error, 'strerror', None) or error}"
        return Failure(str(self.root / uri), str(error))

    def _fail(self, failure: Failure) -> None:
        self.failed.append(failure)
        self.progress.advance()

    def _count_there(self, pictures: int) -> None:
        self.already_there += pictures
        self.progress.advance(pictures)


async def _claim_place(connection: Connection, path: Path, name: str | None) -> tuple[str, Path]:
    """Return collection and root for a path: one that has it already, else a new one."""
    folder = path if await asyncio.to_thread(path.is_dir) else path.parent
    roots = {
        known: Path(root) for known, root in (await collection_roots(connection)).items() if root is not None
    }
    around = [known for known, root in roots.items() if folder.is_relative_to(root)]
    if name is None and around:
        name = max(around, key=lambda known: (len(roots[known].parts), known))
    if name in around:
        return name, roots[name]
    name = name or folder.name or "pictures"
    await claim_collection(connection, name, root=str(folder))
    return name, folder


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads for as long as the block lasts; what still waits when it is left by an error is not begun."""
    executor = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
