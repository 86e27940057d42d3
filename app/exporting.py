"""A collection out of the gallery into files, and back in; the round trip loses nothing."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from PIL import Image

from app.errors import ExchangeError, GalleryFileMissingError, UploadRefusedError
from app.exchange import EncoderFacts, Format, Picture, read, write
from app.index_report import Failure
from app.progress import NoProgress, Progress
from app.uploads import EncodeImage, add_image, picture_path
from db.connection import Connection, Pool
from db.encoders import preprocessing_of
from db.exchange import Known, known_pictures, store_judged
from db.gallery import Embedding, EncoderRow, ImageRow, active_encoder, find_images, list_collections
from db.storing import claim_encoder
from embedding.encoder import Encoder
from embedding.errors import ImageError

PAGE = 64


@dataclass(slots=True)
class ExchangeReport:
    """What became of the pictures; encoded are those that came without the gallery's encoder's vector."""

    collection: str
    pictures: int = 0
    encoded: int = 0
    failed: list[Failure] = field(default_factory=list)

    def summary(self, done: str) -> str:
        """Return it for people: one line, and every failure."""
        lines = [f"{self.collection}: {done} {self.pictures:,} pictures, failed {len(self.failed):,}"]
        if self.encoded:
            lines.append(
                f"  {self.encoded:,} came without vectors of the gallery's encoder, and were encoded"
            )
        return "\n".join(lines + [f"failed: {failure.error}" for failure in self.failed])


async def export_collection(
    pool: Pool,
    collection: str,
    out: Path,
    form: Format,
    *,
    upload_dir: Path,
    progress: Progress | None = None,
) -> ExchangeReport:
    """Write a collection's pictures, captions, attributes, judgements and vectors into a folder.

    A picture whose file is gone is a failure in the report, and costs the others nothing.

    Raises:
        ExchangeError: there is no such collection, or something is in the folder already.
    """
    progress = progress or NoProgress()
    async with pool.connection() as connection:
        counts = {row.name: row.images for row in await list_collections(connection)}
        encoder = await _active_facts(connection)
    if collection not in counts:
        raise ExchangeError(
            f"there is no collection {collection!r}; there are: {', '.join(counts) or 'none'}"
        )
    report = ExchangeReport(collection)
    loop = asyncio.get_running_loop()
    progress.begin("exporting", counts[collection])

    async def page(after: UUID | None) -> list[tuple[Known, Path | Failure]]:
        async with pool.connection() as connection:
            known = await known_pictures(connection, collection, after=after, limit=PAGE)
            rows = await find_images(connection, [each.id for each in known])
        return [(each, _path(*rows[each.id], upload_dir)) for each in known if each.id in rows]

    def pictures() -> Iterator[Picture]:
        after: UUID | None = None
        while found := asyncio.run_coroutine_threadsafe(page(after), loop).result():
            for known, path in found:
                picture = path if isinstance(path, Failure) else _read(known, path)
                if isinstance(picture, Failure):
                    report.failed.append(picture)
                else:
                    report.pictures += 1
                    yield picture
                loop.call_soon_threadsafe(progress.advance)
            after = found[-1][0].id

    await asyncio.to_thread(write, out, form, encoder, pictures())
    return report


async def import_collection(
    pool: Pool,
    folder: Path,
    collection: str,
    *,
    upload_dir: Path,
    max_pixels: int,
    open_gallerys_encoder: Callable[[EncoderRow], Encoder],
    progress: Progress | None = None,
) -> ExchangeReport:
    """Take an export into a collection of uploads; an empty gallery takes its encoder too.

    Vectors of the gallery's encoder are taken as they are; a picture that comes with none, or with another's,
    is encoded. A picture that cannot be taken is a failure in the report. Run again, it changes nothing.

    Args:
        pool: as ever.
        folder: the export.
        collection: made unless it is there.
        upload_dir: the store of uploads.
        max_pixels: the largest picture decoded.
        open_gallerys_encoder: loads the gallery's encoder; called only if something has to be encoded.
        progress: who is told how far it is.

    Raises:
        ExchangeError: it is no export, or damaged; what was taken before that stays.
        CollectionConflictError: the collection is a folder indexed in place.
    """
    facts, pictures = await asyncio.to_thread(read, folder)
    async with pool.connection() as connection:
        active = await active_encoder(connection)
        if (active is None or active.images == 0) and facts is not None:
            await claim_encoder(
                connection, name=facts.name, checkpoint=facts.checkpoint, fingerprint=facts.fingerprint,
                dimension=facts.dimension, preprocessing=facts.preprocessing,
            )  # fmt: skip
            active = await active_encoder(connection)
    if active is None:
        raise ExchangeError(f"{folder} names no encoder, and the gallery has none: index something first")
    same = facts is not None and facts.fingerprint == active.fingerprint
    report = ExchangeReport(collection)
    progress = progress or NoProgress()
    progress.begin("importing", 0)
    encoder: Encoder | None = None

    async def encode(image: Image.Image) -> Embedding:
        nonlocal encoder
        if encoder is None:
            encoder = await asyncio.to_thread(open_gallerys_encoder, active)
        report.encoded += 1
        embeddings = await asyncio.to_thread(encoder.encode_images, [image])
        row: Embedding = embeddings[0]
        return row

    while (picture := await asyncio.to_thread(next, pictures, None)) is not None:
        given = picture.embedding if same else None
        try:
            row, _ = await add_image(
                picture.data,
                name=picture.uri,
                captions=picture.captions,
                attributes=picture.attributes,
                collection=collection,
                encode_image=encode if given is None else _returning(given),
                pool=pool,
                encoder_id=active.id,
                upload_dir=upload_dir,
                max_pixels=max_pixels,
            )
            async with pool.connection() as connection:
                await store_judged(connection, row.id, picture.judgements)
        except (ImageError, UploadRefusedError) as error:
            report.failed.append(Failure(picture.uri, str(error)))
        else:
            report.pictures += 1
        progress.advance()
    return report


def _returning(embedding: Embedding) -> EncodeImage:
    async def given(_: Image.Image) -> Embedding:
        return embedding

    return given


async def _active_facts(connection: Connection) -> EncoderFacts | None:
    row = await active_encoder(connection)
    if row is None:
        return None
    preprocessing = await preprocessing_of(connection, row.id)
    return EncoderFacts(row.name, row.checkpoint, row.fingerprint, row.dimension, preprocessing)


def _path(image: ImageRow, root: str | None, upload_dir: Path) -> Path | Failure:
    try:
        return picture_path(image, root, upload_dir)
    except GalleryFileMissingError as error:
        return Failure("", str(error))


def _read(known: Known, path: Path) -> Picture | Failure:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Failure(str(path), f"{known.uri}: {error.strerror or error}")
    return Picture(
        id=str(known.id),
        uri=known.uri,
        data=data,
        captions=known.captions,
        attributes=known.attributes,
        judgements=known.judgements,
        embedding=known.embedding,
    )
