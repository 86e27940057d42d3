"""How near each picture is to whatever is asked: worked out after indexing, for questions with normalise.

A sample of the gallery's captions is encoded, and PostgreSQL compares each picture with it, a thousand at a
time. What is done stays done: stopped and run again, it goes on, with the pictures that have come since.
"""

import asyncio
import time
from dataclasses import dataclass

from app.progress import Progress
from app.service import claim
from db.connection import Pool
from db.normalising import choose_reference, count_without_bias, fill_biases, fill_chance, store_reference
from embedding.encoder import Encoder

TEXTS_AT_ONCE = 256
REFERENCE = 10_000
"""Captions: enough for a picture's 128 nearest to be near, few enough to compare a large gallery with."""


@dataclass(frozen=True, slots=True)
class NormalisingReport:
    """How many captions were encoded and biases worked out; those that were there are not counted."""

    captions: int
    pictures: int
    seconds: float

    def summary(self) -> str:
        """Return it for people."""
        return (
            f"encoded {self.captions:,} captions, worked out {self.pictures:,} biases; {self.seconds:,.1f} s"
        )


async def normalise_gallery(
    encoder: Encoder, pool: Pool, *, progress: Progress, reference: int = REFERENCE
) -> NormalisingReport:
    """Bring the biases up to date.

    Raises:
        NotNormalisedError: the gallery has no captions to compare with.
        EncoderMismatchError: the gallery is another encoder's.
    """
    started = time.perf_counter()
    async with pool.connection() as connection:
        encoder_id = await claim(connection, encoder)
        missing = await choose_reference(connection, encoder_id, reference)
        progress.begin("encoding captions", len(missing))
        for first in range(0, len(missing), TEXTS_AT_ONCE):
            batch = missing[first : first + TEXTS_AT_ONCE]
            embeddings = await asyncio.to_thread(encoder.encode_texts, [caption.body for caption in batch])
            await store_reference(connection, encoder_id, batch, embeddings)
            progress.advance(len(batch))
        progress.begin("comparing pictures with them", await count_without_bias(connection, encoder_id))
        pictures = 0
        while filled := await fill_biases(connection, encoder_id):
            pictures += filled
            progress.advance(filled)
        await fill_chance(connection, encoder_id)
    return NormalisingReport(len(missing), pictures, time.perf_counter() - started)
