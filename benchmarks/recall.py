"""R@1/5/10 through the running service and its HNSW index, beside the exact figure computed offline.

    python -m benchmarks.recall --model CHECKPOINT --images FOLDER --captions FILE --split FILE

By the field's convention: every caption of every photo in the split asks, and only those photos answer. The two must
agree within 0.2 points; if not, the service is at fault, not the model.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from embedding.encoder import load_encoder
from embedding.images import decode_image
from training.captions import load_flickr8k_captions
from training.evaluate import evaluate_retrieval

KS = (1, 5, 10)
AT_ONCE = 16


async def recall_through_api(address: str, captions: dict[str, list[str]]) -> tuple[dict[int, float], float]:
    """Return R@k in percent by k, and questions a second."""
    found = dict.fromkeys(KS, 0)
    asked = [(name, caption) for name, said in captions.items() for caption in said]
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:

        async def ask(name: str, caption: str) -> None:
            async with gate:
                response = await client.post("/api/search", json={"text": caption, "k": max(KS)})
            response.raise_for_status()
            uris = [hit["uri"] for hit in response.json()["hits"]]
            for k in KS:
                found[k] += name in uris[:k]

        started = time.perf_counter()
        await asyncio.gather(*(ask(name, caption) for name, caption in asked))
        seconds = time.perf_counter() - started
    return {k: 100 * found[k] / len(asked) for k in KS}, len(asked) / seconds


def main() -> None:
    """Index the split's photos in a temporary data folder, ask, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="a file name a line")
    arguments = parser.parse_args()

    names = arguments.split.read_text().split()
    captions = load_flickr8k_captions(arguments.captions)
    captions = {name: captions[name] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for name in names:
            (photos / name).write_bytes((arguments.images / name).read_bytes())
        environment = os.environ | {"IMAGE_RETRIEVAL_DATA_DIR": str(Path(folder) / "data")}
        program = [sys.executable, "-m", "app.cli"]
        subprocess.run(
            [*program, "index", photos, "--captions", arguments.captions, "--model", arguments.model],
            env=environment,
            check=True,
        )
        server = subprocess.Popen(
            [*program, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = next(
                found[0] for line in server.stdout if (found := re.search(r"http://[\w.:]+", line))
            )
            served, rate = asyncio.run(recall_through_api(address, captions))
        finally:
            server.terminate()
            server.wait()

    encoder = load_encoder(arguments.model)
    pictures = [decode_image((arguments.images / name).read_bytes(), name=name) for name in names]
    exact = evaluate_retrieval(encoder, pictures, list(captions.values())).text_to_image
    offline = {1: exact.recall_at_1, 5: exact.recall_at_5, 10: exact.recall_at_10}
    print(f"{'':24}{'R@1':>8}{'R@5':>8}{'R@10':>8}")
    for label, figures in (("exact, offline", offline), ("API with HNSW index", served)):
        print(f"{label:24}" + "".join(f"{figures[k]:8.2f}" for k in KS))
    worst = max(abs(served[k] - offline[k]) for k in KS)
    print(f"largest difference {worst:.2f} points (limit 0.2); {rate:.0f} questions/s, {AT_ONCE} at once")


if __name__ == "__main__":
    main()
