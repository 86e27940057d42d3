"""One step of training, batches -> loss -> gradients -> new weights, and all that the next depends on."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from embedding.transformers_loading import cpu_computes_bfloat16
from training.dev_recall import DevRecall, dev_recall
from training.grad_cache import cached_backward
from training.lean_layers import use_lean_layers
from training.loader import Batch
from training.loss import (
    MAX_LOGIT_SCALE,
    distilled_loss,
    gather_across_processes,
    multi_positive_loss,
    sigmoid_loss,
)
from training.parameters import (
    ExponentialMovingAverage,
    attach_lora,
    freeze,
    freeze_batch_norm,
    merge_lora,
    parameter_groups,
)
from training.photos import CaptionedPhoto
from training.recipe import Recipe
from training.run_folder import Resume, optimizer_tensors, restore_optimizer
from training.teacher import CaptionTeacher
from training.towers import DualTowers

TEACHER_TEMPERATURE = 0.05
FIRST_LOGIT_BIAS = -10.0
"""SigLIP's: at first nearly all pairs are wrong ones (arXiv 2303.15343, section 3.1)."""


class Trainer:
    """Towers with their optimizer, ready to take steps."""

    def __init__(self, towers: DualTowers, photos: Sequence[CaptionedPhoto], recipe: Recipe) -> None:
        """Move the towers to the device, freeze what stays, and make the optimizer.

        Args:
            towers: in float32; trained in place.
            photos: whose captions the teacher reads, if there is distillation.
            recipe: all the rest.
        """
        from accelerate import Accelerator

        self.accelerator = Accelerator(
            mixed_precision="bf16" if _half_precision(recipe) else "no", cpu=not torch.cuda.is_available()
        )
        self._towers = towers
        self._recipe = recipe
        self._layout = torch.contiguous_format
        if sum(isinstance(module, torch.nn.Conv2d) for module in towers.model.modules()) > 1:
            self._layout = torch.channels_last  # about twice as fast for convolutional towers
        model = towers.model.to(self.accelerator.device, memory_format=self._layout)
        if self.accelerator.device.type == "cpu":
            use_lean_layers(model)
        freeze(model, recipe.freeze)
        if recipe.freeze_batch_norm:
            freeze_batch_norm(model)
        self._teacher = CaptionTeacher(towers, photos) if recipe.distillation else None
        if recipe.lora_rank:
            attach_lora(model, rank=recipe.lora_rank, alpha=2 * recipe.lora_rank, towers=_unfrozen(recipe))
        groups = parameter_groups(
            model,
            learning_rates={
                "image": recipe.image_learning_rate,
                "text": recipe.text_learning_rate,
                "head": recipe.head_learning_rate,
            },
            weight_decay=recipe.weight_decay,
            layer_decay=recipe.layer_decay,
        )
        if recipe.loss == "sigmoid" and not hasattr(model, "logit_bias"):
            self._logit_bias = torch.nn.Parameter(
                torch.tensor(FIRST_LOGIT_BIAS, device=self.accelerator.device)
            )
            groups.append(
                {"params": [self._logit_bias], "lr": recipe.head_learning_rate, "weight_decay": 0.0}
            )
        else:
            self._logit_bias = getattr(model, "logit_bias", torch.nn.Parameter(torch.zeros(())))
        for group in groups:
            group["peak"] = group["lr"]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)
        self._average = ExponentialMovingAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self._trained = [each for group in groups for each in group["params"]]

    def step(self, step: int, batches: Sequence[Batch], share_of_peak: float) -> float:
        """Do one step of the optimizer over these batches; return their mean loss over all processes."""
        model, accelerator = self._towers.model, self.accelerator
        torch.manual_seed(_seed_of(self._recipe.seed, step, accelerator.process_index))
        model.train()
        losses = [self._backward(batch, share=1 / len(batches)) for batch in batches]
        self._average_gradients()
        if self._recipe.max_gradient_norm:
            clip_grad_norm_(self._trained, self._recipe.max_gradient_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_peak
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)  # now, so that scoring and saving have the memory
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        if self._average is not None:
            self._average.update(model)
        return sum(losses)

    def _backward(self, batch: Batch, share: float) -> float:
        """Add a batch's gradients, of its loss times its share; return that loss."""
        device = self.accelerator.device
        pixels = batch.pixels.to(device, memory_format=self._layout)
        tokens = {name: tensor.to(device) for name, tensor in batch.tokens.items()}
        image_of_text = batch.image_of_text.to(device)
        teacher = None
        if self._teacher is not None:
            each = self._recipe.texts_per_photo
            teacher = self._teacher.similarity(batch.pairs, each, self.accelerator)

        def loss_of(images: Tensor, texts: Tensor) -> Tensor:
            everywhere = gather_across_processes(images), gather_across_processes(texts)
            return share * self._loss(*everywhere, image_of_text, teacher)

        if not self._recipe.chunk_size:
            with self.accelerator.autocast():
                texts = self._towers.embed_texts(tokens)  # first, so that its backward is last: the small one
                loss = loss_of(self._towers.embed_images(pixels), texts)
            self.accelerator.backward(
                loss
            )  # outside: autocast would keep its copies of the weights meanwhile
        else:
            size = self._recipe.chunk_size
            texts_at_once = size * len(batch.pairs) // len(pixels)
            with self.accelerator.autocast():
                loss = cached_backward(
                    self._towers.embed_images,
                    self._towers.embed_texts,
                    list(torch.split(pixels, size)),
                    list(_split(tokens, texts_at_once)),
                    loss_of,
                    backward=self.accelerator.backward,
                )
        return float(loss.detach())

    def _loss(self, images: Tensor, texts: Tensor, image_of_text: Tensor, teacher: Tensor | None) -> Tensor:
        scale = self._towers.logit_scale()
        with torch.autocast(images.device.type, enabled=False):
            if self._recipe.loss == "sigmoid":
                return sigmoid_loss(images, texts, image_of_text, scale, self._logit_bias)
            if teacher is not None:
                return distilled_loss(
                    images,
                    texts,
                    image_of_text,
                    scale,
                    teacher,
                    weight=self._recipe.distillation,
                    temperature=TEACHER_TEMPERATURE,
                )
            return multi_positive_loss(images, texts, image_of_text, scale)

    def _average_gradients(self) -> None:
        """Make each process's gradients the mean of all: each had the whole loss, but its own inputs."""
        if self.accelerator.num_processes == 1:
            return
        for parameter in self._trained:
            if parameter.grad is not None:
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def score(self, dev: Sequence[CaptionedPhoto]) -> DevRecall:
        """Return recall on the dev photos, by the averaged weights if any; the same to all processes."""
        from accelerate.utils import broadcast_object_list

        scored: list[Any] = [None]
        if self.accelerator.is_main_process:  # alone: two GPUs may round, and then choose, differently
            with self._averaged():
                self._towers.model.eval()
                scored = [dev_recall(self._towers, dev, device=self.accelerator.device)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(scored)
        result: DevRecall = scored[0]
        return result

    @contextmanager
    def weights(self) -> Iterator[Mapping[str, Tensor]]:
        """Give the weights to publish, averaged and with low-rank additions merged in, inside a `with`."""
        model = self._towers.model
        with self._averaged():
            yield (merge_lora(copy.deepcopy(model)) if self._recipe.lora_rank else model).state_dict()

    def resume(self, counters: dict[str, Any]) -> Resume:
        """Return all that the next step depends on, uncopied: to be written before it is taken."""
        tensors = {f"model.{name}": value for name, value in self._towers.model.state_dict().items()}
        tensors |= optimizer_tensors(self._optimizer) | {"logit_bias": self._logit_bias}
        if self._average is not None:
            tensors |= {f"average.{name}": value for name, value in self._average.state_dict().items()}
        return Resume(counters, tensors)

    def restore(self, resume: Resume) -> None:
        """Put resume back."""
        self._towers.model.load_state_dict(_under("model.", resume.tensors))
        restore_optimizer(self._optimizer, resume.tensors)
        with torch.no_grad():
            self._logit_bias.copy_(resume.tensors["logit_bias"])
        if self._average is not None:
            self._average.load_state_dict(_under("average.", resume.tensors))

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        with nullcontext() if self._average is None else self._average.averaged(self._towers.model):
            yield


def _half_precision(recipe: Recipe) -> bool:
    if recipe.precision == "auto":
        return torch.cuda.is_bf16_supported() if torch.cuda.is_available() else cpu_computes_bfloat16()
    return recipe.precision == "bfloat16"


def _unfrozen(recipe: Recipe) -> Literal["image", "text", "image+text"]:
    if recipe.freeze == "image":
        return "text"
    return "image" if recipe.freeze == "text" else "image+text"


def _seed_of(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 1_009 + rank


def _split(tokens: Mapping[str, Tensor], size: int) -> Iterator[dict[str, Tensor]]:
    for at in range(0, len(next(iter(tokens.values()))), size):
        yield {name: tensor[at : at + size] for name, tensor in tokens.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
