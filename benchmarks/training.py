"""Fine-tuning beside transformers' own Trainer at equal settings: photos a second, and peak memory.

    python -m benchmarks.training [--photos 256] [--batch-size 32] [--model CHECKPOINT]

Limits: at least 1.2 times as fast, and no more memory. Without a checkpoint it is a ViT-B/32 with random weights.
Both read the same drawn photos from disk, one caption a photo, in the same batches, with AdamW and bfloat16 where the
processor has it. Each runs in a process of its own, the ways taking turns; the first step is not timed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.indexing import draw_photos, make_vit_b_32
from embedding.transformers_loading import cpu_computes_bfloat16

ROUNDS = 3


def train_ours(model: str, folder: Path, batch_size: int) -> float:
    """Return photos a second of training.train."""
    from training.dev_recall import DevRecall
    from training.photos import CaptionedPhoto, FileSource
    from training.recipe import Recipe
    from training.run_folder import RunFolder
    from training.towers import open_checkpoint
    from training.train import train

    photos = [
        CaptionedPhoto(path.name, ("a photo",), FileSource(path)) for path in sorted(folder.glob("*.jpg"))
    ]
    finished: list[float] = []

    class Clock:
        def step(self, step: int, steps: int, *, epoch: int, loss: float, photos_per_s: float) -> None:
            finished.append(time.perf_counter())

        def epoch(self, epoch: int, dev: DevRecall, *, best: bool) -> None:
            pass

    recipe = Recipe(epochs=1, batch_size=batch_size, texts_per_photo=1, augment_photos=False, patience=0)
    with tempfile.TemporaryDirectory() as out:
        train(
            open_checkpoint(model), photos, photos[:8], recipe, RunFolder(Path(out) / "run"),
            identity={}, progress=Clock(), save_every_s=1e9,
        )  # fmt: skip
    return batch_size * (len(finished) - 1) / (finished[-1] - finished[0])


def train_theirs(model: str, folder: Path, batch_size: int) -> float:
    """Return photos a second of transformers.Trainer, as its examples use it for contrastive training."""
    from transformers import (
        AutoImageProcessor,
        AutoModel,
        AutoTokenizer,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    paths = sorted(folder.glob("*.jpg"))
    processor = AutoImageProcessor.from_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)

    class Photos(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Path:
            return paths[index]

    def collate(batch: list[Path]) -> dict[str, Any]:
        images = [Image.open(path).convert("RGB") for path in batch]
        texts = tokenizer(["a photo"] * len(batch), padding=True, return_tensors="pt")
        return {**processor(images=images, return_tensors="pt"), **texts, "return_loss": True}

    finished: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            finished.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out, num_train_epochs=1, per_device_train_batch_size=batch_size, learning_rate=1e-5,
            bf16=cpu_computes_bfloat16(), use_cpu=not torch.cuda.is_available(), report_to=[], save_strategy="no",
            disable_tqdm=True, dataloader_drop_last=True, remove_unused_columns=False, logging_strategy="no",
        )  # fmt: skip
        trainer = Trainer(
            AutoModel.from_pretrained(model, dtype=torch.float32), arguments, train_dataset=Photos(),
            data_collator=collate, callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    return batch_size * (len(finished) - 1) / (finished[-1] - finished[0])


WAYS = {"ours": train_ours, "Trainer": train_theirs}


def main() -> None:
    """Time both ways, or, as a process of its own, one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--model")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        rate = WAYS[arguments.way](arguments.model, arguments.folder, arguments.batch_size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rate": rate, "peak_mb": peak}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, model = Path(temporary) / "photos", arguments.model
        folder.mkdir()
        draw_photos(folder, arguments.photos)
        if model is None:
            model = str(Path(temporary) / "model")
            make_vit_b_32(Path(model))
        figures: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.training", "--way", way, "--model", model]
                command += ["--folder", str(folder), "--batch-size", str(arguments.batch_size)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                figures[way].append(json.loads(output.splitlines()[-1]))
    rates = {way: float(np.median([each["rate"] for each in rounds])) for way, rounds in figures.items()}
    peaks = {way: max(each["peak_mb"] for each in rounds) for way, rounds in figures.items()}
    for way in WAYS:
        print(f"{way:10}{rates[way]:8.2f} photos/s, peak {peaks[way]:7.0f} MB")
    print(f"{rates['ours'] / rates['Trainer']:.2f} times as fast (limit 1.2), {peaks['ours'] / peaks['Trainer']:.2f} of"
          " the memory (limit 1)")  # fmt: skip


if __name__ == "__main__":
    main()
