"""What decides a training run, and the presets: every field is an option of `image-retrieval train`."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the data and the start; the defaults are the preset recommended for a checkpoint."""

    epochs: int = _setting(10, "Times that every photo is seen.")
    batch_size: int = _setting(
        128, "Photos in a step, over all processes; the others are a photo's negatives."
    )
    chunk_size: int = _setting(0, "Photos in memory at a time (GradCache); 0 is the whole batch.")
    accumulation: int = _setting(1, "Batches whose gradients are averaged before a step.")
    pairs: Literal["unique", "plain"] = _setting(
        "unique",
        "unique: a photo once a batch, with captions drawn anew each epoch; plain: all pairs, shuffled.",
    )
    texts_per_photo: int = _setting(2, "Captions of each photo in a batch, if unique; all are its positives.")
    loss: Literal["infonce", "sigmoid"] = _setting("infonce", "CLIP's loss, or SigLIP's.")
    image_learning_rate: float = _setting(1e-5, "Peak rate of the image tower.")
    text_learning_rate: float = _setting(1e-5, "Peak rate of the text tower.")
    head_learning_rate: float = _setting(1e-5, "Peak rate of the projections and the temperature.")
    weight_decay: float = _setting(0.1, "AdamW's, for matrices alone.")
    layer_decay: float = _setting(1.0, "Rate of each layer over the rate of the next one up.")
    warmup_share: float = _setting(0.1, "Share of the steps with a rising rate; a cosine to zero follows.")
    schedule: Literal["cosine", "constant"] = _setting(
        "cosine", "constant: the peak rate from first to last."
    )
    max_gradient_norm: float = _setting(1.0, "Gradients are scaled down to this length; 0 leaves them.")
    freeze: Literal["none", "image", "text", "image+text"] = _setting("none", "Towers that stay as they are.")
    freeze_batch_norm: bool = _setting(True, "Keep the statistics that a convolutional tower came with.")
    lora_rank: int = _setting(0, "Learn low-rank additions to the towers' matrices instead; 0 is off.")
    ema_decay: float = _setting(0.0, "Keep a moving average of the weights, and score it; 0 is off.")
    distillation: float = _setting(
        0.0, "Share of the target that follows how alike the start finds captions."
    )
    augment_photos: bool = _setting(True, "Crop, colour, gamma, blur and recompress photos, mildly.")
    augment_captions: bool = _setting(
        False, "Drop words, swap synonyms, mistype, and leave accents out, mildly."
    )
    patience: int = _setting(3, "Epochs without a better dev recall before it stops; 0 never stops early.")
    precision: Literal["auto", "float32", "bfloat16"] = _setting(
        "auto", "auto: bfloat16 where it is quicker."
    )
    seed: int = _setting(0, "Decides order, captions, augmentation and fresh weights.")

    def __post_init__(self) -> None:
        """Refuse what no run can mean.

        Raises:
            ValueError: a value is out of range; the message names it.
        """
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("warmup_share", "ema_decay", "distillation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it goes from 0 to below 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; it goes from above 0 to 1")
        if self.pairs == "plain" and self.texts_per_photo != 1:
            raise ValueError("texts_per_photo must be 1 with plain pairs: each pair has one caption")
        if self.freeze == "image+text" and self.lora_rank:
            raise ValueError("lora_rank needs a tower that is not frozen")
        if self.loss == "sigmoid" and self.distillation:
            raise ValueError("distillation goes with the loss infonce")


_LEAST = {
    "epochs": 1, "batch_size": 2, "chunk_size": 0, "accumulation": 1, "texts_per_photo": 1,
    "image_learning_rate": 0, "text_learning_rate": 0, "head_learning_rate": 0, "weight_decay": 0,
    "max_gradient_norm": 0, "lora_rank": 0, "patience": 0,
}  # fmt: skip

RECIPE_FIELDS = {each.name: each for each in fields(Recipe)}

PRESETS: dict[str, dict[str, object]] = {
    # The report's: pairs as they come, no warm-up, no augmentation.
    "report": {
        "epochs": 3, "batch_size": 16, "pairs": "plain", "texts_per_photo": 1, "weight_decay": 0.01,
        "warmup_share": 0.0, "schedule": "constant", "max_gradient_norm": 0.0, "augment_photos": False,
        "patience": 0,
    },
    "recommended": {},
}  # fmt: skip
"""What each preset changes."""

# Two towers that never met: the heads start from nothing and learn fast, the towers have further to go.
_TOWERS: dict[str, object] = {
    "epochs": 8, "head_learning_rate": 2e-3, "image_learning_rate": 3e-4, "text_learning_rate": 5e-5,
    "weight_decay": 0.05, "ema_decay": 0.99, "distillation": 0.5,
}  # fmt: skip


def choose_recipe(preset: str, *, joined: bool, asked: dict[str, Any]) -> Recipe:
    """Return a preset with what was asked for changed in it.

    Args:
        preset: one of PRESETS.
        joined: the start is two towers that never met; recommended then learns faster and longer.
        asked: fields of Recipe.

    Raises:
        ValueError: a field that is not there, or a value out of range.
    """
    if unknown := asked.keys() - RECIPE_FIELDS.keys():
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}")
    chosen = {**PRESETS[preset], **(_TOWERS if joined and preset == "recommended" else {}), **asked}
    if chosen.get("pairs") == "plain":
        chosen.setdefault("texts_per_photo", 1)
    if chosen.get("loss") == "sigmoid" and "distillation" not in asked:
        chosen["distillation"] = 0.0
    return Recipe(**chosen)
