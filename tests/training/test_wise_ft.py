from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.errors import TrainingError
from training.wise_ft import best_alpha, interpolate, sweep

FEW = settings(max_examples=25, deadline=None)
SHARES = st.floats(0, 1)


def weights(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "layer.weight": torch.randn(3, 4, generator=generator).to(dtype),
        "norm.running_var": torch.rand(4, generator=generator).to(dtype),
        "norm.num_batches_tracked": torch.tensor(seed),
    }


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_ends_are_the_two_models_bit_for_bit(dtype: torch.dtype) -> None:
    start, tuned = weights(1, dtype), weights(2, dtype)
    assert_equal(interpolate(start, tuned, 1), tuned)
    counter = "norm.num_batches_tracked"
    assert_equal(interpolate(start, tuned, 0), start | {counter: tuned[counter]})


@FEW
@given(alpha=SHARES)
def test_in_between_it_is_the_weighted_mean(alpha: float) -> None:
    start, tuned = weights(1), weights(2)
    found = interpolate(start, tuned, alpha)
    for name in ("layer.weight", "norm.running_var"):
        expected = (1 - alpha) * start[name].double() + alpha * tuned[name].double()
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-6, atol=1e-6)
    assert found["norm.num_batches_tracked"] == 2


@FEW
@given(alpha=SHARES)
def test_half_precision_is_rounded_once(alpha: float) -> None:
    start, tuned = weights(1), weights(2, torch.bfloat16)
    in_full = interpolate(start, {name: tensor.float() for name, tensor in tuned.items()}, alpha)
    found = interpolate(start, tuned, alpha)["layer.weight"]
    assert torch.equal(found, in_full["layer.weight"].bfloat16())


def test_a_start_in_half_precision_gives_the_tuned_models_type() -> None:
    found = interpolate(weights(1, torch.float16), weights(2), 0.5)
    assert found["layer.weight"].dtype == torch.float32


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_neither_model_is_touched_nor_shared(alpha: float) -> None:
    start, tuned = weights(1), weights(2)
    for tensor in interpolate(start, tuned, alpha).values():
        tensor.zero_()
    assert_equal(start, weights(1))
    assert_equal(tuned, weights(2))


@pytest.mark.parametrize(
    ("start", "tuned", "message"),
    [
        ({"a": (1,), "b": (2,), "c": (3,)}, {"a": (1,)}, "b is in the weights before"),
        ({"a": (1,)}, {"b": (1,), "a": (1,)}, "b is in the weights after"),
        (
            {"a": (1,), "b": (2, 3), "c": (1,)},
            {"a": (1,), "b": (3, 2), "c": (2,)},
            r"b is \(2, 3\).*\(3, 2\)",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(
    start: dict[str, tuple[int, ...]], tuned: dict[str, tuple[int, ...]], message: str
) -> None:
    def zeros(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    with pytest.raises(TrainingError, match=message):
        interpolate(zeros(start), zeros(tuned), 0.5)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_beyond_the_ends_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        interpolate(weights(1), weights(2), alpha)


def test_a_sweep_scores_each_model_and_leaves_the_tuned_one() -> None:
    model = nn.Linear(2, 1)
    start = {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}
    tuned = {"weight": torch.ones(1, 2), "bias": torch.tensor([0.3])}
    points = sweep(model, start, tuned, [0, 0.25, 1], lambda: model.weight.sum().item())
    assert points == [(0, 0.0), (0.25, 0.5), (1, 2.0)]
    assert_equal(model.state_dict(), tuned)


def test_a_sweep_that_fails_leaves_the_tuned_model_too() -> None:
    model = nn.Linear(2, 1)
    start, tuned = copied(model.state_dict()), {"weight": torch.ones(1, 2), "bias": torch.ones(1)}

    def fail() -> float:
        raise OSError("no photo")

    with pytest.raises(OSError, match="no photo"):
        sweep(model, start, tuned, [0.5], fail)
    assert_equal(model.state_dict(), tuned)


@pytest.mark.parametrize("own", ["start", "tuned"])
def test_weights_that_would_change_with_the_model_are_refused(own: str) -> None:
    model = nn.Linear(2, 1)
    given = {"start": copied(model.state_dict()), "tuned": copied(model.state_dict())}
    given[own] = model.state_dict()
    with pytest.raises(ValueError, match="copy"):
        sweep(model, **given, alphas=[0.5], score=lambda: 0)


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(0, 50.0, 80.0), (0.4, 71.6, 75.0), (0.7, 72.0, 70.0), (1, 72.0, 60.0)], 0.4),
        ([(0, 50.0, 80.0), (0.4, 71.4, 75.0), (0.7, 71.8, 70.0), (1, 72.0, 60.0)], 0.7),
        ([(0, 50.0, 80.0), (1, 72.0, 60.0)], 1),
        ([(0.8, 31.7, 61.0), (1, 32.2, 60.0)], 0.8),  # 32.2 - 0.5 is a hair above 31.7, by rounding alone
        ([(0, 72.0, 70.0), (1, 72.0, 70.0)], 0),
        ([(0.5, 71.7, 70.0), (0.6, 71.9, 70.0), (1, 72.0, 60.0)], 0.6),
    ],
    ids=[
        "forgets least",
        "within the allowance",
        "only the best",
        "at the edge",
        "all alike",
        "then the best",
    ],
)
def test_the_alpha_that_forgets_least_among_the_nearly_best(
    points: list[tuple[float, float, float]], best: float
) -> None:
    assert best_alpha(points) == best
    assert best_alpha(points[::-1]) == best


@FEW
@given(
    points=st.lists(st.tuples(SHARES, st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12),
    allowed=st.floats(0, 5),
)
def test_a_larger_allowance_never_forgets_more(
    points: list[tuple[float, float, float]], allowed: float
) -> None:
    points = [(number / 12, *scores) for number, (_, *scores) in enumerate(points)]
    of_alpha = {alpha: (in_domain, general) for alpha, in_domain, general in points}
    in_domain, general = of_alpha[best_alpha(points, allowed_loss=allowed)]
    assert in_domain >= max(point[1] for point in points) - allowed - 1e-6
    assert of_alpha[best_alpha(points, allowed_loss=allowed + 1)][1] >= general


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no point"):
        best_alpha([])
