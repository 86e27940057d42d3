"""Indexing a folder beside its limit: the encoder alone, on the same pictures, decoded beforehand.

    python -m benchmarks.indexing [--model CHECKPOINT] [--images FOLDER] [--pictures 512] [--rounds 3] [--engine auto]

Limit: index_folder ≥ 0.85 of the encoder alone. Without a checkpoint it is a ViT-B/32 with random weights, without
a folder drawn photos of 500 × 375 pixels; everything else is in a temporary data folder. The two take turns, and
the ratio is the median of the rounds'. On a machine that others use too, the two last figures of a round tell more:
how long the encoder was at work, and what part of this process's processor time it had.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from alembic import command
from numpy.typing import NDArray
from PIL import Image

from app.database import alembic_config
from app.folder import find_pictures
from app.indexing import batch_size_for, index_folder
from app.reading import read_picture
from db.connection import make_pool
from db.embedded import start_embedded
from db.embedding_index import drop_embedding_index
from db.gallery import list_encoders
from embedding.encoder import Encoder, load_encoder
from embedding.pixel_budget import MAX_PIXELS
from embedding.preprocessing import Preprocessing

WIDTH, HEIGHT = 500, 375


def draw_photos(folder: Path, count: int) -> None:
    """Write JPEGs that cost about as much to decode as photos do: large shapes, and grain."""
    for number in range(count):
        chance = np.random.default_rng(number)
        shapes = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pixels = np.asarray(shapes.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = chance.integers(-16, 17, pixels.shape, dtype=np.int16)
        photo = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{number:05}.jpg", quality=85)


def make_vit_b_32(folder: Path) -> None:
    """Write a ViT-B/32 with random weights, and a tokenizer of a few words, which no picture meets."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "a": 4, "photo": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    ).save_pretrained(folder)
    text = {"vocab_size": len(words), "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    CLIPModel(CLIPConfig(text_config=text)).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)


class TimedEncoder:
    """The encoder, and how long it was at work; the rest of its time it waited for pictures."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.busy_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Encode, and note the time."""
        started = time.perf_counter()
        embeddings = self.encoder.encode_images(images)
        self.busy_s += time.perf_counter() - started
        return embeddings


def encode_alone(encoder: Encoder, images: list[Image.Image]) -> float:
    """Return pictures a second, batch after batch."""
    size = batch_size_for(encoder)
    started = time.perf_counter()
    for start in range(0, len(images), size):
        encoder.encode_images(images[start : start + size])
    return len(images) / (time.perf_counter() - started)


async def measure(model: Path, folder: Path, count: int, rounds: int, engine: str, data_dir: Path) -> None:
    """Encode and index in turns, and print."""
    encoder = load_encoder(str(model), engine=engine, cache_dir=data_dir)
    enough_px = Preprocessing.from_processor(encoder.preprocessing()).enough_px
    uris, _ = find_pictures(folder.resolve(), folder.resolve())
    uris = uris[:count]
    chosen = data_dir / "chosen"
    chosen.mkdir()
    images: list[Image.Image] = []
    for uri in uris:
        data = (folder / uri).read_bytes()
        (chosen / uri.replace("/", "_")).write_bytes(data)
        image, _ = read_picture(data, collection="", uri=uri, max_pixels=MAX_PIXELS, enough_px=enough_px)
        images.append(image)
    encode_alone(encoder, images[:128])  # the first batches cost more
    database_url = start_embedded(data_dir / "postgres")
    command.upgrade(alembic_config(database_url), "head")
    alone: list[float] = []
    indexed: list[float] = []
    async with make_pool(database_url) as pool:
        for number in range(rounds):
            cpu_started = time.process_time()
            alone.append(encode_alone(encoder, images))
            cpu_alone, cpu_started = time.process_time() - cpu_started, time.process_time()
            timed = TimedEncoder(encoder)
            report = await index_folder(chosen, encoder=cast("Encoder", timed), pool=pool)
            assert report.indexed == len(images), report.summary()
            indexed.append(report.images_per_second)
            cpu_share = cpu_alone / (time.process_time() - cpu_started)
            busy = timed.busy_s * report.images_per_second / len(images)
            print(
                f"round {number + 1}: encoder alone {alone[-1]:.1f}/s, index_folder {indexed[-1]:.1f}/s,"
                f" ratio {indexed[-1] / alone[-1]:.3f}, encoder busy {busy:.1%} of the time,"
                f" with {cpu_share:.1%} of the processor time"
            )
            again = await index_folder(chosen, encoder=encoder, pool=pool)
            assert again.already_there == len(images), again.summary()
            async with pool.connection() as connection:
                await connection.execute("truncate images cascade")
                for row in await list_encoders(connection):
                    await drop_embedding_index(connection, row.id)
    ratio = float(np.median(np.array(indexed) / np.array(alone)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(images)} pictures, {encoder.checkpoint} on {encoder.device}")
    print(f"encoder alone   {np.median(alone):8.1f} pictures/s")
    print(f"index_folder    {np.median(indexed):8.1f} pictures/s, {ratio:.3f} of it (limit 0.85)")
    print(f"again           {len(images) / again.seconds:8.1f} pictures/s, nothing to do")
    print(f"peak memory     {peak_mb:8.0f} MB, the decoded pictures of the comparison among it")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto", help="auto, torch, openvino")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-retrieval-benchmark-") as temporary:
        data_dir = Path(temporary)
        images, model = arguments.images, arguments.model
        if images is None:
            images = data_dir / "photos"
            images.mkdir()
            draw_photos(images, arguments.pictures)
        if model is None:
            model = data_dir / "vit-b-32"
            make_vit_b_32(model)
        asyncio.run(measure(model, images, arguments.pictures, arguments.rounds, arguments.engine, data_dir))


if __name__ == "__main__":
    main()
