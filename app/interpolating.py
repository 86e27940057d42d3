"""`image-retrieval interpolate`: between a checkpoint and its fine-tuned self, the one that forgets least."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from app.tuning import choose_photos
from training.captions import load_captioned_photos
from training.dev_recall import DevRecall, dev_recall, embed_captions, embed_photos
from training.forgetting import agreement, general_questions
from training.photos import CaptionedPhoto
from training.towers import DualTowers, open_checkpoint
from training.wise_ft import best_alpha, interpolate, sweep

ALPHAS = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint of the sweep."""

    alpha: float
    """0 is the start, 1 the fine-tuned."""
    dev: DevRecall
    agreement: float
    """Percent of the start's first ten photos to general questions that this one finds too."""


def run_interpolation(
    start: str,
    tuned: str,
    *,
    images: Path | None,
    captions: Path,
    dev_list: Path | None,
    out: Path,
    allowed_loss: float,
    say: Callable[[str], None],
) -> dict[str, object]:
    """Score the way from start to tuned on the dev photos; save the checkpoint chosen, return the scores.

    Raises:
        TrainingError, EmbeddingError: as the photos, the checkpoints and interpolate say.
    """
    photos = load_captioned_photos(captions, images)
    splits, _ = choose_photos(photos, train_list=None, dev_list=dev_list, say=say)
    before, towers = open_checkpoint(start), open_checkpoint(tuned)
    before_state, tuned_state = (
        {name: tensor.clone() for name, tensor in each.model.state_dict().items()}
        for each in (before, towers)
    )
    questions = general_questions()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    towers.model.to(device).eval()
    known = _similarities(_on(before, device), questions, splits.dev, device)

    def score() -> tuple[DevRecall, float]:
        now = _similarities(towers, questions, splits.dev, device)
        return dev_recall(towers, splits.dev, device=device), agreement(known, now)

    points = [
        Point(alpha, dev, agreed)
        for alpha, (dev, agreed) in sweep(towers.model, before_state, tuned_state, ALPHAS, score)
    ]
    alpha = best_alpha(
        [(point.alpha, point.dev.mean, point.agreement) for point in points], allowed_loss=allowed_loss
    )
    say("alpha   dev mean recall   text → image R@1/5/10   agrees with the start")
    for point in points:
        recall = " / ".join(f"{value:5.1f}" for value in point.dev.text_to_image)
        mark = "  <- saved" if point.alpha == alpha else ""
        say(f"{point.alpha:5.1f}   {point.dev.mean:15.1f}   {recall:>21}   {point.agreement:18.1f} %{mark}")
    towers.save(out, interpolate(before_state, tuned_state, alpha))
    say(f"search with it: image-retrieval index PATH --model {out}")
    return {"alpha": alpha, "points": [asdict(point) for point in points]}


def _on(towers: DualTowers, device: torch.device) -> DualTowers:
    towers.model.to(device).eval()
    return towers


def _similarities(
    towers: DualTowers, questions: Sequence[str], photos: Sequence[CaptionedPhoto], device: torch.device
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return float32 (questions, photos)."""
    similarities: np.ndarray[tuple[int, int], np.dtype[np.float32]] = (
        embed_captions(towers, questions, device=device) @ embed_photos(towers, photos, device=device).T
    )
    return similarities
