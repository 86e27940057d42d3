"""Encoding by each engine, beside the plain way: one picture at a time, float32, transformers' own code.

    python -m benchmarks.encoder [--model CHECKPOINT] [--pictures 64] [--rounds 3]

Limits, for ViT-B/32: pictures ≥ 3.5 times the plain loop, one text ≥ 1.8 times faster than in float32, by PyTorch; by
OpenVINO pictures ≥ 6 times. Without a checkpoint it is a ViT-B/32 with random weights. The ways take turns within a round; a figure is the median of rounds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from benchmarks.indexing import draw_photos, make_vit_b_32
from embedding.encoder import load_encoder

QUESTION = "two dogs run over the grass and a boy in a red shirt looks at them"
TEXTS_A_ROUND = 20


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes, once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(model: str, photos: list[Image.Image], rounds: int) -> None:
    """Encode the photos and a question in each way, and print the ratios."""
    processor = AutoImageProcessor.from_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
    context = min(getattr(plain.config.text_config, "max_position_embeddings", 77), 77)

    @torch.inference_mode()
    def plain_pictures() -> None:
        for photo in photos[:16]:
            plain.get_image_features(**processor(images=photo, return_tensors="pt"))

    @torch.inference_mode()
    def plain_text(padding: str) -> None:
        for _ in range(TEXTS_A_ROUND):
            plain.get_text_features(
                **tokenizer(
                    QUESTION, padding=padding, max_length=context, truncation=True, return_tensors="pt"
                )
            )

    engines = ("torch", "openvino") if find_spec("openvino") else ("torch",)
    encoders = {
        f"{engine} {precision}": load_encoder(model, engine=engine, precision=precision)
        for engine in engines
        for precision in ("float32", "auto")
    }
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "pictures, plain loop": (plain_pictures, len(photos[:16])),
        "text, plain float32 padded": (lambda: plain_text("max_length"), TEXTS_A_ROUND),
        "text, plain float32": (lambda: plain_text("longest"), TEXTS_A_ROUND),
    }
    for name, encoder in encoders.items():
        ways[f"pictures, {name}"] = (lambda encoder=encoder: encoder.encode_images(photos), len(photos))
        ways[f"text, {name}"] = (
            lambda encoder=encoder: [encoder.encode_texts([QUESTION]) for _ in range(TEXTS_A_ROUND)],
            TEXTS_A_ROUND,
        )
    each: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (work, count) in ways.items():
            took = seconds(work) / count
            if turn:  # the first is a warm-up
                each[name].append(took)
    median = {name: float(np.median(times)) for name, times in each.items()}
    for name, took in median.items():
        print(f"{name:28}{1000 * took:9.2f} ms each {1 / took:9.1f}/s")
    for engine, limit in zip(engines, (3.5, 6.0), strict=False):
        faster = f"{engine} auto"
        pictures = median["pictures, plain loop"] / median[f"pictures, {faster}"]
        text = median["text, torch float32"] / median[f"text, {faster}"]
        padded = median["text, plain float32 padded"] / median[f"text, {faster}"]
        print(
            f"{engine}: pictures {pictures:.2f} times the plain loop (limit {limit}), text {text:.2f} times as fast"
            f" as torch float32 (limit 1.8), {padded:.2f} times the plain way padded"
        )
    if "openvino" not in engines:
        print("openvino: not installed")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or str(Path(folder) / "vit-b-32")
        if arguments.model is None:
            make_vit_b_32(Path(model))
        draw_photos(Path(folder), arguments.pictures)
        photos = [Image.open(path).convert("RGB") for path in sorted(Path(folder).glob("*.jpg"))]
        measure(model, photos, arguments.rounds)


if __name__ == "__main__":
    main()
