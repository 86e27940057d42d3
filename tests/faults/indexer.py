"""The indexer as a process that may be killed, forked from one that has imported everything already."""

import asyncio
import multiprocessing
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from app.indexing import index_folder
from app.service import open_pool
from app.settings import Settings
from embedding.encoder import load_encoder
from training.captions import load_flickr8k_captions

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        __name__, "embedding.engines", "embedding.transformers_encoder",
        "transformers.models.clip.modeling_clip", "transformers.models.clip.image_processing_pil_clip",
    ]
)  # fmt: skip
BATCH_SIZE = 8


def start_indexer(database_url: str, gallery: Path, checkpoint: Path) -> BaseProcess:
    """Index a gallery of scenes with its captions, as `image-retrieval index` does; return once it begins."""
    begins = FORKS.Event()
    process = FORKS.Process(target=_index, args=(database_url, gallery, checkpoint, begins))
    process.start()
    assert begins.wait(60)
    return process


def _index(database_url: str, gallery: Path, checkpoint: Path, begins: Event) -> None:
    encoder = load_encoder(str(checkpoint), threads=1)
    captions = load_flickr8k_captions(gallery / "captions.txt")

    async def run() -> None:
        async with open_pool(Settings(database_url=database_url)) as pool:
            await index_folder(gallery, encoder=encoder, pool=pool, captions=captions, batch_size=BATCH_SIZE)

    begins.set()
    asyncio.run(run())
