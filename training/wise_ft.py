"""WiSE-FT: between the weights before and after fine-tuning lie better ones than either.

Fine-tuning gains on its own photos and forgets about others; part of the way back costs little of the gain
and returns much of what was forgotten. No training: seconds a point.

Source: Wortsman et al. 2022 (arXiv 2109.01903).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.errors import TrainingError

T = TypeVar("T")

_ROUNDING = 1e-9  # 32.2 - 31.7 is 0.5 on paper only


def interpolate(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return (1 - alpha) · start + alpha · tuned, tensor by tensor: exactly start at 0, exactly tuned at 1.

    Args:
        start: the state_dict before fine-tuning, on any device.
        tuned: the state_dict after it; its devices and types are the outcome's. Integers (counters,
            positions) are taken from it as they are.
        alpha: 0 to 1.

    Raises:
        TrainingError: the two are not of one model; the first tensor that is in one only, or of another
            shape, is named.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is 0 to 1, not {alpha}")
    _require_same_model(start, tuned)
    return {name: _between(start[name], tensor, alpha) for name, tensor in tuned.items()}


def sweep(
    model: nn.Module,
    start: Mapping[str, Tensor],
    tuned: Mapping[str, Tensor],
    alphas: Iterable[float],
    score: Callable[[], T],
) -> list[tuple[float, T]]:
    """Return each alpha with the score of the model at it; the model is left with the tuned weights.

    Args:
        model: whose state_dict start and tuned are; copies, not the model's own tensors.
        start: as in interpolate.
        tuned: as in interpolate.
        alphas: in the order wanted.
        score: looks at the model, which is in the mode (train or eval) in which it came.

    Raises:
        TrainingError: as in interpolate.
        ValueError: start or tuned shares memory with the model, and would change with it.
    """
    own = {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.numel()}
    for name, tensor in (*start.items(), *tuned.items()):
        if tensor.data_ptr() in own:
            raise ValueError(f"{name} is the model's own tensor; give a copy of its state_dict")
    points = []
    try:
        for alpha in alphas:
            model.load_state_dict(interpolate(start, tuned, alpha))
            points.append((alpha, score()))
    finally:
        model.load_state_dict(tuned)
    return points


def best_alpha(points: Sequence[tuple[float, float, float]], *, allowed_loss: float = 0.5) -> float:
    """Return the alpha that forgets least among those that lose little.

    Args:
        points: (alpha, in_domain, general), both scores in percent, more is better: on photos such as it was
            tuned on (the dev split, never the test split), and on others.
        allowed_loss: points in percent that in_domain may lie below the best.

    Of several that forget alike, the one that is best in its domain, and then the smallest.
    """
    if not points:
        raise ValueError("there is no point to choose from")
    best = max(in_domain for _, in_domain, _ in points)
    allowed = [point for point in points if point[1] >= best - allowed_loss - _ROUNDING]
    alpha, _, _ = max(allowed, key=lambda point: (point[2], point[1], -point[0]))
    return alpha


def _between(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    if not tuned.is_floating_point():
        return tuned.clone()
    exact = torch.promote_types(tuned.dtype, torch.float32)  # so that start is not rounded first
    return torch.lerp(start.to(tuned.device, exact), tuned.to(exact), alpha).to(tuned.dtype)


def _require_same_model(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> None:
    for name in (*start, *tuned):
        if name not in tuned:
            raise TrainingError(f"{name} is in the weights before fine-tuning, but not in those after it")
        if name not in start:
            raise TrainingError(f"{name} is in the weights after fine-tuning, but not in those before it")
        if start[name].shape != tuned[name].shape:
            before, after = tuple(start[name].shape), tuple(tuned[name].shape)
            raise TrainingError(f"{name} is {before} before fine-tuning, but {after} after it")
