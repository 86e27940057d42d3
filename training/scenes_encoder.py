"""A small CLIP that knows the drawn world, trained on a processor while one waits; for demo and tests.

It is transformers' own CLIPModel, saved as any checkpoint is, so the product opens it as it opens a real one.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils import clip_grad_norm_
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from embedding.preprocessing import Preprocessing, preprocess
from embedding.transformers_loading import cpu_computes_bfloat16
from training.augment_captions import without_accents
from training.errors import CheckpointFolderError
from training.loss import MAX_LOGIT_SCALE, contrastive_loss
from training.scenes import Scene, captions_of, draw, phrases_of, training_scenes
from training.scenes_tokenizer import train_tokenizer

PREPROCESSING = Preprocessing(
    size_px=(64, 64),
    resize_mode="shortest",
    mean=(0.48145466, 0.4578275, 0.40821073),  # CLIP's
    std=(0.26862954, 0.26130258, 0.27577711),
)
CONTEXT = 40  # tokens; the longest caption has 28
HEAD_WIDTH = 64
RECIPE_FILE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights, on one kind of machine."""

    seed: int = 0
    scenes: int = 6000
    """Distinct scenes to train on, each drawn once."""
    steps: int = 300
    batch_size: int = 256
    """Pairs a step, of distinct scenes; each pair's negatives are the others."""
    warmup_steps: int = 20
    """Of linear warm-up; a cosine down to zero follows."""
    matrix_learning_rate: float = 0.02
    """Muon's, for the weight matrices. AdamW alone was slower in one untuned trial."""
    learning_rate: float = 1e-3
    """AdamW's, for everything else."""
    phrase_share: float = 0.35
    """Of the texts: phrases that leave things out, so that short questions work as well."""
    unaccented_share: float = 0.1
    """Of the texts: without Vietnamese accents, as hurried people type."""
    logit_scale: float = 20.0
    """To begin with; learnt from there."""
    patch_px: int = 16
    image_width: int = 128
    image_layers: int = 4
    text_width: int = 128
    text_layers: int = 2
    dimension: int = 128


RECIPE = Recipe()


def train_scenes_encoder(
    directory: Path, *, seed: int = RECIPE.seed, steps: int = RECIPE.steps, progress: Progress | None = None
) -> Path:
    """Return the directory, holding a checkpoint trained on scenes that are in no gallery.

    A checkpoint of the same recipe is left as it is, one of another recipe is replaced. It appears whole or
    not at all: a run that is killed leaves the directory as it was.

    Args:
        directory: the checkpoint's own folder; made when missing.
        seed: decides the scenes, the first weights and the order.
        steps: fewer give a worse encoder sooner.
        progress: where to show how far it is; None shows a bar on a terminal and nothing elsewhere.

    Raises:
        CheckpointFolderError: the directory holds something else, which is not overwritten.
    """
    recipe = replace(RECIPE, seed=seed, steps=steps)
    receipt = {**asdict(recipe), "drawn_world": _digest_of_the_drawn_world()}
    if _receipt_in(directory) == receipt:
        return directory
    # no more than the steps will look at: tests take a few steps only
    scenes = training_scenes(min(recipe.scenes, recipe.steps * recipe.batch_size), seed)
    with torch.random.fork_rng(devices=[]), _shown(progress) as bar:
        torch.manual_seed(seed)
        tokenizer = train_tokenizer(_all_texts(scenes), context=CONTEXT)
        model = new_model(recipe, tokenizer)
        drawing = bar.add_task("Drawing scenes to learn from", total=len(scenes))
        pixels = torch.empty(len(scenes), 3, *PREPROCESSING.size_px, dtype=torch.float16)
        for number, scene in enumerate(scenes):
            pixels[number] = _draw_pixels(scene, np.random.default_rng([seed, number]))
            bar.advance(drawing)
        training = bar.add_task("Training", total=steps)
        for loss in train(model, tokenizer, scenes, pixels, recipe):
            bar.update(training, advance=1, description=f"Training, loss {loss:.2f}")
    _save(directory, model, tokenizer, receipt)
    return directory


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return an untrained CLIPModel of the recipe's shape; the global torch seed decides its weights."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": recipe.text_width,
        "intermediate_size": 4 * recipe.text_width,
        "num_hidden_layers": recipe.text_layers,
        "num_attention_heads": recipe.text_width // HEAD_WIDTH,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": recipe.image_width,
        "intermediate_size": 4 * recipe.image_width,
        "num_hidden_layers": recipe.image_layers,
        "num_attention_heads": recipe.image_width // HEAD_WIDTH,
        "image_size": PREPROCESSING.size_px[0],
        "patch_size": recipe.patch_px,
    }
    return CLIPModel(
        CLIPConfig(
            text_config=text,
            vision_config=vision,
            projection_dim=recipe.dimension,
            logit_scale_init_value=math.log(recipe.logit_scale),
        )
    )


def train(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    scenes: Sequence[Scene],
    pixels: Tensor,
    recipe: Recipe,
) -> Iterator[float]:
    """Train the model in place, and yield each step's loss.

    Args:
        model: on the processor, in float32.
        tokenizer: the model's.
        scenes: n distinct scenes.
        pixels: float (n, 3, height, width), the scenes drawn and preprocessed.
        recipe: the steps, the batch, the rates.
    """
    rng = np.random.default_rng([recipe.seed, len(scenes)])
    optimizers = _optimizers(model, recipe)
    model.train()
    for step, batch in enumerate(_batches(len(scenes), recipe, rng)):
        texts = [_random_text(scenes[index], recipe, rng) for index in batch]
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_computes_bfloat16()):
            images = model.get_image_features(pixel_values=pixels[torch.from_numpy(batch)].float())
            words = model.get_text_features(**tokens)
        loss = contrastive_loss(
            normalize(images.pooler_output.float()),
            normalize(words.pooler_output.float()),
            model.logit_scale.exp(),
        )
        model.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * _share_of_peak(step, recipe)
            optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        yield loss.item()
    model.eval()


def _optimizers(model: CLIPModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices (kellerjordan.github.io/posts/muon, 2024), AdamW for the rest."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embedding" not in name]
    among_matrices = {id(weight) for weight in matrices}
    rest = [weight for _, weight in named if id(weight) not in among_matrices]
    muon, adamw = recipe.matrix_learning_rate, recipe.learning_rate
    return [
        torch.optim.Muon([{"params": matrices, "peak": muon}], lr=muon, weight_decay=0.01),
        torch.optim.AdamW([{"params": rest, "peak": adamw}], lr=adamw, betas=(0.9, 0.98), weight_decay=0.05),
    ]


def _share_of_peak(step: int, recipe: Recipe) -> float:
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def _batches(n: int, recipe: Recipe, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the recipe's steps, int64 (batch,) rows each, distinct: no scene is its own negative."""
    order = rng.permutation(n)
    size = min(n, recipe.batch_size)
    for _ in range(recipe.steps):
        if len(order) < size:
            order = rng.permutation(n)
        batch, order = order[:size], order[size:]
        yield batch


def _random_text(scene: Scene, recipe: Recipe, rng: np.random.Generator) -> str:
    captions = phrases_of(scene) if rng.random() < recipe.phrase_share else captions_of(scene)
    body = captions[rng.integers(len(captions))].body
    return without_accents(body) if rng.random() < recipe.unaccented_share else body


def _all_texts(scenes: Sequence[Scene]) -> Iterator[str]:
    """Yield every text that training may read: what the tokenizer is learnt from."""
    for scene in scenes:
        for caption in [*captions_of(scene), *phrases_of(scene)]:
            yield caption.body
            if caption.language == "vi":
                yield without_accents(caption.body)


def _draw_pixels(scene: Scene, rng: np.random.Generator) -> Tensor:
    """Return float32 (3, height, width), drawn at the model's own size: a quarter of the time."""
    picture = draw(scene, rng, size_px=PREPROCESSING.size_px[0])
    return torch.from_numpy(preprocess([picture], PREPROCESSING))[0]


def _shown(progress: Progress | None) -> AbstractContextManager[Progress]:
    if progress is not None:
        return nullcontext(progress)
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.speed:.1f}/s"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _digest_of_the_drawn_world() -> str:
    """Return SHA-256 (hex) of a few drawn and captioned scenes: other drawings or words, another encoder."""
    digest = hashlib.sha256()
    for scene in training_scenes(24, seed=0):
        digest.update(draw(scene, np.random.default_rng(0), size_px=PREPROCESSING.size_px[0]).tobytes())
        digest.update("\n".join(_all_texts([scene])).encode())
    return digest.hexdigest()


def _receipt_in(directory: Path) -> dict[str, object] | None:
    """Return what the directory's checkpoint was made by; None where there is no directory, or an empty one.

    Raises:
        CheckpointFolderError: the directory holds something else.
    """
    try:
        receipt: dict[str, object] = json.loads((directory / RECIPE_FILE).read_text())
    except FileNotFoundError:
        if directory.exists() and any(directory.iterdir()):
            raise CheckpointFolderError(
                f"{directory} holds files, but no encoder of drawn scenes; name another folder or empty it"
            ) from None
        return None
    return receipt


def _save(
    directory: Path, model: CLIPModel, tokenizer: PreTrainedTokenizerFast, receipt: dict[str, object]
) -> None:
    """Write the checkpoint beside the directory, then put it in the directory's place."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as temporary:
        checkpoint, former = Path(temporary) / "checkpoint", Path(temporary) / "former"
        model.config.save_pretrained(checkpoint)
        # save_pretrained would draw a progress bar of its own, terminal or not.
        save_file(model.state_dict(), checkpoint / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(checkpoint)
        processor = {"image_processor_type": "CLIPImageProcessor", **PREPROCESSING.to_dict()}
        (checkpoint / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))
        (checkpoint / RECIPE_FILE).write_text(json.dumps(receipt, indent=2))
        if directory.exists():
            directory.rename(former)
        checkpoint.rename(directory)
