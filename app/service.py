"""What answers questions: the pool, the encoder and its batchers, opened and closed together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image

from app.admission import Admission
from app.database import keep_embedded_running, ready_database, require_newest_schema
from app.encoder_switch import EncoderSwitch
from app.index_recall import Ask, RecallSampler
from app.metrics import SHARED, Metrics
from app.request_record import current_request, note_steps
from app.reranking import Reranker, load_reranker
from app.settings import Settings
from app.text_memory import TextMemory
from app.tracing import Tracing, open_tracing
from app.uploads import sweep_unfinished
from db.connection import Connection, Pool, make_pool, may_change
from db.errors import EncoderMismatchError
from db.gallery import Embedding, EncoderRow, active_encoder
from db.storing import claim_encoder, mismatch
from embedding.batching import MicroBatcher
from embedding.encoder import Encoder, load_encoder
from embedding.text_cache import TextCache

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
MEASURE_EVERY_S = 5.0
BODIES_AT_ONCE = 16
"""Bodies of the largest size that may be held in memory together."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that a search or an upload needs; open_service makes and closes them."""

    settings: Settings
    pool: Pool
    """Searches and looks; its connections can change nothing."""
    writing_pool: Pool
    encoder: Encoder
    texts: TextCache
    text_batches: MicroBatcher[str]
    images: MicroBatcher[Image.Image]
    admission: Admission
    metrics: Metrics
    recall: RecallSampler
    tracing: Tracing | None
    switch: EncoderSwitch
    reranker: Reranker | None = None

    def latest(self) -> "Service":
        """Return the service that answers now: this one, until the gallery changes its encoder."""
        current = self.switch.current
        if current.encoder is self.encoder:
            return self
        return current if current.settings is self.settings else replace(current, settings=self.settings)

    async def of_active_encoder(self) -> "Service":
        """Return the service of the gallery's active encoder, which is loaded now unless it has been.

        Raises:
            EncoderUnavailableError, EncoderMismatchError: it cannot be loaded, or its checkpoint has changed.
            psycopg.Error, psycopg_pool.PoolTimeout: the database does not answer.
        """
        await self.switch.follow()
        return self.latest()

    @property
    def upload_dir(self) -> Path:
        """Folder of the pictures that came by upload."""
        return self.settings.data_dir / "uploads"

    @property
    def thumbnail_dir(self) -> Path:
        """Folder of thumbnails made so far; safe to delete."""
        return self.settings.data_dir / "thumbnails"

    def observe_search(
        self, words: str | None, *, encode_s: float, database_s: float, ask: Ask | None
    ) -> None:
        """Note a question that was answered: for /metrics, its request's log line, and perhaps its recall.

        ask is what put it to the database, to be called again; None is not to be.
        """
        self.metrics.observe_search(encode_s=encode_s, database_s=database_s)
        note_steps(encode=encode_s, database=database_s)
        if self.settings.log_questions and (record := current_request.get()) is not None:
            record.notes["question"] = words
        if ask is not None:
            self.recall.sample(ask)

    def measure_load(self) -> None:
        """Bring the metrics of how busy the service is up to date."""
        self.metrics.set_load(
            in_flight=self.admission.in_flight,
            in_flight_limit=self.admission.max_in_flight,
            queued={"text": self.text_batches.queued, "image": self.images.queued},
            cached=len(self.texts),
            pools={"reading": self.pool.get_stats(), "writing": self.writing_pool.get_stats()},
        )

    async def keep_measuring(self) -> None:
        """Bring them up to date for ever: another worker may be the one whose /metrics is asked."""
        while True:
            self.latest().measure_load()
            await asyncio.sleep(MEASURE_EVERY_S)

    async def encoder_id(self) -> int:
        """Return the id under which this encoder's vectors are stored; an empty gallery takes it as its own.

        Raises:
            EncoderMismatchError: the gallery is another encoder's.
        """
        async with self.writing_pool.connection() as connection:
            return await claim(connection, self.encoder)


@asynccontextmanager
async def open_service(settings: Settings, encoder: Encoder | None = None) -> AsyncIterator[Service]:
    """Open database and encoder; the encoder is the gallery's own unless the settings name one.

    Raises:
        EncoderMismatchError: the encoder and the gallery's vectors do not belong together.
        EncoderUnavailableError: the checkpoint cannot be loaded.
        NotMigratedError, DatabaseUnsuitableError: the database is not ready.
        SettingsError: the reranker cannot be imported.
    """
    reranker = load_reranker(settings.reranker)
    async with AsyncExitStack() as stack:
        pool, writing_pool = await stack.enter_async_context(open_service_pools(settings))
        if settings.database_url is None:
            keeping = asyncio.create_task(keep_embedded_running(settings), name="keep-database")
            stack.callback(keeping.cancel)
        async with pool.connection() as connection:
            active = await active_encoder(connection)
        if encoder is None:
            encoder = await asyncio.to_thread(open_encoder, settings, active)
        require_same_encoder(active, encoder)
        tracing = await stack.enter_async_context(open_tracing(settings.tracing))
        metrics = Metrics()
        recall = RecallSampler(pool, share=settings.recall_sample, on_recall=metrics.observe_recall)
        stack.push_async_callback(recall.close)
        if swept := await sweep_unfinished(writing_pool, settings.data_dir / "uploads"):
            logger.info("deleted what %d uploads had left half written", swept)
        admission = Admission(
            max_in_flight=settings.max_in_flight, max_body_bytes=BODIES_AT_ONCE * settings.max_upload_bytes
        )
        memory = await stack.enter_async_context(TextMemory(writing_pool, keep=settings.remember_texts))
        device = asyncio.Lock()  # one forward pass at a time: two would only share the same processor

        @asynccontextmanager
        async def answering(encoder: Encoder) -> AsyncIterator[Service]:
            async with (
                _batcher("text", encoder.encode_texts, settings, device, metrics) as text_batches,
                _batcher("image", encoder.encode_images, settings, device, metrics) as images,
            ):
                yield Service(
                    settings=settings,
                    pool=pool,
                    writing_pool=writing_pool,
                    encoder=encoder,
                    texts=TextCache(
                        memory.remembering(text_batches.encode, encoder.fingerprint),
                        fingerprint=encoder.fingerprint,
                        size=settings.text_cache_size,
                        on_asked=metrics.observe_cached,
                    ),
                    text_batches=text_batches,
                    images=images,
                    admission=admission,
                    metrics=metrics,
                    recall=recall,
                    tracing=tracing,
                    switch=switch,
                    reranker=reranker,
                )

        switch = EncoderSwitch(
            pool,
            load=partial(_open_known, settings),
            answering=answering,
            keep_s=2 * settings.deadline_s,
        )
        stack.push_async_callback(switch.close)
        service = await switch.start(encoder)
        following = asyncio.create_task(switch.keep_following(), name="follow-encoder")
        stack.callback(following.cancel)
        if SHARED:
            measuring = asyncio.create_task(service.keep_measuring(), name="measure-load")
            stack.callback(measuring.cancel)
        yield service


def _batcher(
    kind: str,
    encode: Callable[[Sequence[T]], Embedding],
    settings: Settings,
    device: asyncio.Lock,
    metrics: Metrics,
) -> MicroBatcher[T]:
    return MicroBatcher(
        encode,
        max_batch=settings.max_batch,
        max_queued=settings.max_queued,
        lock=device,
        on_batch=partial(metrics.observe_batch, kind),
    )


def _open_known(settings: Settings, row: EncoderRow) -> Encoder:
    """Load an encoder that the gallery knows; raises EncoderMismatchError if its checkpoint has changed."""
    encoder = open_encoder(settings.replace(model=row.checkpoint), row)
    require_fingerprint(row, encoder)
    return encoder


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[Pool]:
    """Open a pool on a database that is ready: started, and of this program's schema."""
    async with _checked(_make_pool(await ready_database(settings), settings, settings.pool_size)) as pool:
        yield pool


@asynccontextmanager
async def open_service_pools(settings: Settings) -> AsyncIterator[tuple[Pool, Pool]]:
    """Open the pool for questions, whose connections can change nothing, and the pool for changes."""
    database_url = await ready_database(settings)
    reading_url = settings.read_database_url or database_url
    async with (
        _checked(_make_pool(database_url, settings, settings.write_pool_size)) as writing,
        _checked(_make_pool(reading_url, settings, settings.pool_size, reading=True)) as reading,
    ):
        async with reading.connection() as connection:
            if await may_change(connection):
                logger.warning(
                    "searches run with the right to change the gallery, in read-only transactions:"
                    " image-retrieval doctor tells how to take it from them"
                )
        yield reading, writing


def _make_pool(database_url: str, settings: Settings, size: int, *, reading: bool = False) -> Pool:
    return make_pool(
        database_url,
        size=size,
        timeout_s=settings.pool_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
        reading=reading,
    )


@asynccontextmanager
async def _checked(pool: Pool) -> AsyncIterator[Pool]:
    async with pool:
        async with pool.connection() as connection:
            await require_newest_schema(connection)
        yield pool


def open_encoder(settings: Settings, active: EncoderRow | None) -> Encoder:
    """Load the encoder that the settings name, else the gallery's own, else the default."""
    model = settings.model or (active.checkpoint if active else DEFAULT_MODEL)
    logger.info("loading encoder %s", model)
    return load_encoder(
        model,
        engine=settings.engine,
        device=settings.device,
        precision=settings.precision,
        cache_dir=settings.data_dir,
    )


def require_same_encoder(active: EncoderRow | None, encoder: Encoder) -> None:
    """Raise EncoderMismatchError if the gallery holds vectors of another encoder."""
    if active is None or active.images == 0 or active.fingerprint == encoder.fingerprint:
        return
    raise mismatch(active, encoder.checkpoint, encoder.fingerprint)


def require_fingerprint(row: EncoderRow, encoder: Encoder) -> None:
    """Raise EncoderMismatchError if a checkpoint is no longer the encoder that the gallery knows it as."""
    if row.fingerprint != encoder.fingerprint:
        raise EncoderMismatchError(
            f"{row.checkpoint} has changed since it was added as {row.name} (fingerprint"
            f" {row.fingerprint[:12]}, now {encoder.fingerprint[:12]}); put the files back, or add it anew"
        )


async def claim(connection: Connection, encoder: Encoder) -> int:
    """Return the id of this encoder in the gallery: claim_encoder, with what the encoder says of itself."""
    return await claim_encoder(
        connection,
        name=Path(encoder.checkpoint).name,
        checkpoint=encoder.checkpoint,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        preprocessing=encoder.preprocessing(),
    )
