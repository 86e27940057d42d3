"""What normalised scores, captions that count, and scores against chance are worth, on captioned photos, in SQL.

    python -m benchmarks.quality_ranking --model CHECKPOINT --images FOLDER --captions FILE --split FILE

Captions ask for the photo that they belong to; what asks is never among what was indexed or compared with. Photos
answer by search_images with exact => true. Differences are paired, with 95 % intervals over photos.

- normalised: every caption of every photo asks, and biases are by the other four captions of all photos; a photo's own
  are left out of its bias (fill_biases).
- captions: each photo's first caption asks; half of the photos, by chance, have their other four indexed, the others none.
- chance: of which questions it is said that nothing is nearer than chance: last captions, the reference being the other
  four, and phrases of what next to no photo shows (benchmarks/odd_phrases.txt).
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.database import migrate
from db.background import background_scores
from db.connection import Connection, make_pool
from db.embedded import start_embedded
from db.embedding_index import build_embedding_index
from db.gallery import Caption, Embedding, ImageRow
from db.normalising import ReferenceCaption, fill_biases, fill_chance, store_reference
from db.searching import NEARNESS, Ranking, search_images
from db.storing import claim_collection, claim_encoder, image_id, replace_captions, store_images
from embedding.encoder import load_encoder
from training.bootstrap import differences, estimates
from training.captions import load_captioned_photos
from training.encoded_gallery import EncodedGallery, encode_gallery
from training.metrics import RECALLS, Measured, mean_of

CAPTIONS = 5
DEPTH = 10
WEIGHTS = (0.1, 0.2, 0.3)
NOT_FOUND = 1000


def main() -> None:
    """Encode the photos, fill a database in a temporary folder, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="a file name a line")
    arguments = parser.parse_args()
    names = set(arguments.split.read_text().split())
    photos = [
        photo
        for photo in load_captioned_photos(arguments.captions, arguments.images)
        if photo.name in names and len(photo.captions) >= CAPTIONS
    ]
    encoder = load_encoder(arguments.model)
    gallery = encode_gallery(encoder, photos)
    odd = Path(__file__).with_name("odd_phrases.txt").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), gallery, odd, encoder.encode_texts(odd)))


async def measure(folder: Path, gallery: EncodedGallery, odd: Sequence[str], odd_vectors: Embedding) -> None:
    """Fill a database in this folder, ask every way, print."""
    database_url = start_embedded(folder / "postgres")
    migrate(database_url)
    photos = len(gallery.photos)
    texts = gallery.texts.reshape(photos, -1, gallery.texts.shape[1])[:, :CAPTIONS]
    async with make_pool(database_url) as pool, pool.connection() as connection:
        encoder_id, images = await fill(connection, gallery)
        plain = await ask(connection, images, texts)
        show("plain", plain)
        normalised = await asked_normalised(connection, encoder_id, gallery, images, texts)
        show("normalised", normalised, plain)
        await fill_chance(connection, encoder_id)
        await against_chance(connection, texts[:, -1], odd, odd_vectors)
        await captions_for_half(connection, gallery, images, texts)


async def fill(connection: Connection, gallery: EncodedGallery) -> tuple[int, list[ImageRow]]:
    """Store the photos without captions, and index them; return the encoder's id and the rows."""
    encoder_id = await claim_encoder(
        connection,
        name="measured",
        checkpoint="measured",
        fingerprint="0" * 64,
        dimension=gallery.images.shape[1],
        preprocessing={},
    )
    await claim_collection(connection, "photos", root="/photos")
    images = [
        ImageRow(image_id("photos", photo.name.encode()), "photos", photo.name, 1, 1, "jpeg", 1, None, 0)
        for photo in gallery.photos
    ]
    await store_images(connection, encoder_id, images, [[] for _ in images], gallery.images)
    await build_embedding_index(connection, encoder_id)
    return encoder_id, images


async def ask(
    connection: Connection,
    images: Sequence[ImageRow],
    texts: Embedding,
    ranking: Ranking = NEARNESS,
    words: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """Return int64 (photos, captions): where each caption's photo stands, NOT_FOUND beyond the first ten.

    texts is float32 (photos, captions, d); words are as many, to search the captions for.
    """
    ranks = np.full(texts.shape[:2], NOT_FOUND)
    for photo, position in np.ndindex(*ranks.shape):
        asked = ranking if words is None else replace(ranking, caption_query=words[photo])
        hits = await search_images(connection, [texts[photo, position]], k=DEPTH, exact=True, ranking=asked)
        found = [hit.rank for hit in hits if hit.id == images[photo].id]
        ranks[photo, position] = found[0] if found else NOT_FOUND
    return ranks


async def asked_normalised(
    connection: Connection,
    encoder_id: int,
    gallery: EncodedGallery,
    images: Sequence[ImageRow],
    texts: Embedding,
) -> NDArray[np.int64]:
    """Ask with biases by all captions but those of the position that asks."""
    ranks = np.empty(texts.shape[:2], np.int64)
    for position in range(CAPTIONS):
        await say(connection, gallery, images, range(len(images)), without=position)
        for photo, image in enumerate(images):
            others = [other for other in range(CAPTIONS) if other != position]
            reference = [
                ReferenceCaption(image.id, place, gallery.photos[photo].captions[other])
                for place, other in enumerate(others)
            ]
            await store_reference(connection, encoder_id, reference, texts[photo, others])
        while await fill_biases(connection, encoder_id):
            pass
        asking = texts[:, position : position + 1]
        ranks[:, position : position + 1] = await ask(connection, images, asking, Ranking(normalise=True))
    return ranks


async def captions_for_half(
    connection: Connection, gallery: EncodedGallery, images: Sequence[ImageRow], texts: Embedding
) -> None:
    """Ask with captions of half of the photos indexed, the one that asks never among them."""
    half = sorted(random.Random(0).sample(range(len(images)), len(images) // 2))
    await say(connection, gallery, images, half, without=0)
    words = [photo.captions[0] for photo in gallery.photos]
    plain = await ask(connection, images, texts[:, :1])
    for weight in WEIGHTS:
        fused = await ask(connection, images, texts[:, :1], Ranking(caption_weight=weight), words)
        show(f"half captioned, caption_weight {weight}", fused, plain)
        for name, some in (("with captions", half), ("without", np.setdiff1d(range(len(images)), half))):
            show(f"  photos {name}", fused[some], plain[some])


async def say(
    connection: Connection,
    gallery: EncodedGallery,
    images: Sequence[ImageRow],
    photos: Iterable[int],
    *,
    without: int,
) -> None:
    """Give these photos all their captions but one, and the others none."""
    said: dict[UUID, list[Caption]] = {image.id: [] for image in images}
    for photo in photos:
        captions = gallery.photos[photo].captions[:CAPTIONS]
        said[images[photo].id] = [Caption(body) for p, body in enumerate(captions) if p != without]
    await replace_captions(connection, said)
    await connection.execute("analyze captions")


async def against_chance(
    connection: Connection,
    texts: Embedding,
    odd: Sequence[str],
    odd_vectors: Embedding,
) -> None:
    """Say of which questions nothing is nearer than chance: captions of the photos, and odd phrases."""
    captions = [await nothing_near(connection, text) for text in texts]
    print(f"nothing nearer than chance: {np.mean(captions):7.1%} of {len(captions)} captions")
    phrases = [await nothing_near(connection, text) for text in odd_vectors]
    print(f"{'':27}{np.mean(phrases):7.1%} of {len(odd)} odd phrases")


async def nothing_near(connection: Connection, question: Embedding) -> bool:
    """Say whether the best hit scores less than chance."""
    (best,) = await search_images(connection, [question], k=1)
    background = await background_scores(connection, [question])
    return background.chance is not None and best.score < background.chance


def show(name: str, ranks: NDArray[np.int64], plain: NDArray[np.int64] | None = None) -> None:
    """Print recalls with their intervals, or beside them what they differ from plain by."""
    measured = recalls(ranks)
    found = estimates({name: measured})[name]
    beyond = None if plain is None else differences({name: measured}, {name: recalls(plain)})[name]
    cells = [
        f"{found[recall].value:6.2f}"
        + (
            f" ({found[recall].low:.2f} to {found[recall].high:.2f})"
            if beyond is None
            else f" ({beyond[recall].value:+.2f}: {beyond[recall].low:+.2f} to {beyond[recall].high:+.2f})"
        )
        for recall in RECALLS
    ]
    print(f"{name:36}" + "".join(f"{cell:30}" for cell in cells))


def recalls(ranks: NDArray[np.int64]) -> Measured:
    """Return R@1, 5 and 10 in percent of ranks int64 (photos, captions)."""
    asked = ranks.ravel()
    photo = np.repeat(np.arange(len(ranks)), ranks.shape[1])
    return mean_of(RECALLS, np.column_stack([100.0 * (asked <= k) for k in (1, 5, 10)]), photo)


if __name__ == "__main__":
    main()
