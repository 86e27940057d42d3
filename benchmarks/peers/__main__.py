"""This service beside its peers, in one run, on the same photos, weights, vectors and questions.

    pip install --no-deps -r benchmarks/peers/requirements.txt
    python -m benchmarks.peers [--images FOLDER] [--model CHECKPOINT] [--pictures 192] [--rounds 3]
                               [--vectors 8000 --vectors 100000] [--clip-retrieval PROGRAM]

Without a folder the photos are drawn (500 × 375), without a checkpoint it is a ViT-B/32 with random weights.
Encoders take turns within a round, and a figure is the median of rounds. A peer that is not installed is
named as such. clip-retrieval wants older versions of what everybody shares: install it in an environment of
its own (pip install clip-retrieval==2.45.0) and name its program.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.indexing import draw_photos, make_vit_b_32
from benchmarks.peers import encoding, searching
from benchmarks.peers.encoding import EncodingPeer
from benchmarks.peers.searching import Searched

QUESTION = "two dogs run over the grass and a boy in a red shirt looks at them"
TEXTS_A_ROUND = 20
NOT_INSTALLED = "not installed"


def open_encoders(model: str, clip_retrieval: str) -> dict[str, EncodingPeer | str]:
    """Open every way to encode; one that cannot be had is the reason why."""
    ways: dict[str, tuple[str, Callable[[], EncodingPeer]]] = {
        "this service, OpenVINO": ("openvino", partial(encoding.this_service, model, "openvino")),
        "this service, PyTorch": ("torch", partial(encoding.this_service, model, "torch")),
        "this service, OpenVINO float32": (
            "openvino",
            partial(encoding.this_service, model, "openvino", "float32"),
        ),
        "this service, PyTorch float32": ("torch", partial(encoding.this_service, model, "torch", "float32")),
        "(a) the report's loop": ("torch", partial(encoding.reports_loop, model)),
        "(d) sentence-transformers": (
            "sentence_transformers",
            partial(encoding.sentence_transformers, model),
        ),
        "(e) ONNX Runtime": ("onnxruntime", partial(encoding.onnx_runtime, model)),
    }
    opened: dict[str, EncodingPeer | str] = {
        name: make() if find_spec(module) else NOT_INSTALLED for name, (module, make) in ways.items()
    }
    program = shutil.which(clip_retrieval)
    opened["(c) clip-retrieval"] = encoding.clip_retrieval(model, program) if program else NOT_INSTALLED
    return opened


def compare_encoders(model: str, paths: list[Path], rounds: int, clip_retrieval: str) -> None:
    """Encode the photos and a text in each way, in turns, and print."""
    encoders = open_encoders(model, clip_retrieval)
    expected = encoding.this_service(model, "torch", "float32").pictures(paths[:32])[0]
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    texts: dict[str, list[float]] = {name: [] for name in encoders}
    cosines: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, peer in encoders.items():
            if isinstance(peer, str):
                continue
            if not turn:  # a warm-up, and whether all compute the same
                rows, _ = peer.pictures(paths[:32])
                cosines[name] = float((rows * expected).sum(axis=1).min())
            else:
                rates[name].append(len(paths) / peer.pictures(paths)[1])
            if peer.text:
                started = time.perf_counter()
                for _ in range(TEXTS_A_ROUND):
                    peer.text(QUESTION)
                if turn:
                    texts[name].append(1000 * (time.perf_counter() - started) / TEXTS_A_ROUND)
    print(f"\n{'encoding':34}{'pictures/s':>11}{'of (a)':>8}{'one text, ms':>14}{'of (a)':>8}{'cosine':>9}")
    first = "(a) the report's loop"
    for name, peer in encoders.items():
        if isinstance(peer, str):
            print(f"{name:34}  {peer}")
            continue
        rate = float(np.median(rates[name]))
        line = f"{name:34}{rate:11.1f}{rate / np.median(rates[first]):8.2f}"
        if texts[name]:
            text = float(np.median(texts[name]))
            line += f"{text:14.2f}{text / np.median(texts[first]):8.2f}"
        else:
            line += f"{'-':>14}{'-':>8}"
        print(f"{line}{cosines[name]:9.4f}")


def compare_searches(count: int, questions: int) -> None:
    """Search this many vectors in each way, and print."""
    task = searching.make_task(count, questions)
    ours = searching.this_service(task)
    faiss = find_spec("faiss") is not None
    rows: dict[str, Searched | str] = {
        "this service": ours,
        "(a) the report's dict": searching.reports_dict(task),
        "(b) FAISS flat": searching.faiss_flat(task) if faiss else NOT_INSTALLED,
        "(b) FAISS HNSW": searching.faiss_hnsw(task, at_least=ours.recall) if faiss else NOT_INSTALLED,
    }
    print(f"\n{f'{count:,} vectors':24}{'build, s':>10}{'search, ms':>12}{'recall@10':>11}{'bytes each':>12}")
    for name, row in rows.items():
        if isinstance(row, str):
            print(f"{name:24}  {row}")
        else:
            print(
                f"{name:24}{row.build_s:10.1f}{row.median_ms:12.2f}{row.recall:11.4f}{row.bytes_each:12.0f}"
                f"  {row.how}"
            )


def main() -> None:
    """Read the arguments, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3, help="of encoding; 0: no encoders")
    parser.add_argument("--vectors", type=int, action="append", help="0: no searches")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--clip-retrieval", default="clip-retrieval", help="its program, if not on the PATH")
    arguments = parser.parse_args()
    if arguments.rounds:
        with tempfile.TemporaryDirectory() as temporary:
            images, model = arguments.images, arguments.model
            if model is None:
                model = str(Path(temporary, "vit-b-32"))
                make_vit_b_32(Path(model))
            if images is None:
                images = Path(temporary, "photos")
                images.mkdir()
                draw_photos(images, arguments.pictures)
            paths = sorted(path.resolve() for path in images.glob("*.jpg"))[: arguments.pictures]
            compare_encoders(model, paths, arguments.rounds, arguments.clip_retrieval)
    for count in arguments.vectors or [8000, 100_000]:
        if count:
            compare_searches(count, arguments.questions)


if __name__ == "__main__":
    main()
