"""What answers questions: the pool, the encoder and its batchers, opened and closed together."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.database import ready_database, require_newest_schema
from app.settings import Settings
from db.connection import Connection, Pool, make_pool
from db.errors import EncoderMismatchError
from db.gallery import EncoderRow, active_encoder
from db.storing import claim_encoder
from embedding.batching import MicroBatcher
from embedding.encoder import Encoder, load_encoder

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
MAX_BATCH = 32

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that a search or an upload needs; open_service makes and closes them."""

    settings: Settings
    pool: Pool
    encoder: Encoder
    texts: MicroBatcher[str]
    images: MicroBatcher[Image.Image]

    @property
    def upload_dir(self) -> Path:
        """Folder of the pictures that came by upload."""
        return self.settings.data_dir / "uploads"

    @property
    def thumbnail_dir(self) -> Path:
        """Folder of thumbnails made so far; safe to delete."""
        return self.settings.data_dir / "thumbnails"

    async def encoder_id(self) -> int:
        """Return the id under which this encoder's vectors are stored; an empty gallery takes it as its own.

        Raises:
            EncoderMismatchError: the gallery is another encoder's.
        """
        async with self.pool.connection() as connection:
            return await claim(connection, self.encoder)


@asynccontextmanager
async def open_service(settings: Settings, encoder: Encoder | None = None) -> AsyncIterator[Service]:
    """Open database and encoder; the encoder is the gallery's own unless the settings name one.

    Raises:
        EncoderMismatchError: the encoder and the gallery's vectors do not belong together.
        EncoderUnavailableError: the checkpoint cannot be loaded.
        NotMigratedError, DatabaseUnsuitableError: the database is not ready.
    """
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        async with pool.connection() as connection:
            active = await active_encoder(connection)
        if encoder is None:
            encoder = await asyncio.to_thread(open_encoder, settings, active)
        require_same_encoder(active, encoder)
        device = asyncio.Lock()  # one forward pass at a time: two would only share the same processor
        texts = MicroBatcher(
            encoder.encode_texts, max_batch=MAX_BATCH, max_queued=settings.max_queued, lock=device
        )
        images = MicroBatcher(
            encoder.encode_images, max_batch=MAX_BATCH, max_queued=settings.max_queued, lock=device
        )
        await stack.enter_async_context(texts)
        await stack.enter_async_context(images)
        yield Service(settings=settings, pool=pool, encoder=encoder, texts=texts, images=images)


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[Pool]:
    """Open the pool on a database that is ready: started, and of this program's schema."""
    database_url = await ready_database(settings)
    pool = make_pool(
        database_url,
        size=settings.pool_size,
        timeout_s=settings.pool_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )
    async with pool:
        async with pool.connection() as connection:
            await require_newest_schema(connection)
        yield pool


def open_encoder(settings: Settings, active: EncoderRow | None) -> Encoder:
    """Load the encoder that the settings name, else the gallery's own, else the default."""
    model = settings.model or (active.checkpoint if active else DEFAULT_MODEL)
    logger.info("loading encoder %s", model)
    return load_encoder(model, device=settings.device, precision=settings.precision)


def require_same_encoder(active: EncoderRow | None, encoder: Encoder) -> None:
    """Raise EncoderMismatchError if the gallery holds vectors of another encoder."""
    if active is None or active.images == 0 or active.fingerprint == encoder.fingerprint:
        return
    raise EncoderMismatchError(
        f"the gallery was indexed with {active.checkpoint} (fingerprint {active.fingerprint[:12]}), but the"
        f" encoder is {encoder.checkpoint} (fingerprint {encoder.fingerprint[:12]}); vectors of two encoders"
        " cannot be compared. Ask with the gallery's own, or use another database"
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
