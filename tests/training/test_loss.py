import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from training.loss import (
    MAX_LOGIT_SCALE,
    contrastive_loss,
    distilled_loss,
    gather_across_processes,
    multi_positive_loss,
    sigmoid_loss,
)

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=25, deadline=None)  # each example costs torch a few milliseconds


def unit_rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(rows, dim=-1).to(dtype)


def owners(n: int, m: int, seed: int) -> Tensor:
    """int64 (m,), m >= n: every image has a text, the others are anyone's."""
    generator = torch.Generator().manual_seed(seed)
    owners = torch.cat([torch.arange(n), torch.randint(n, (m - n,), generator=generator)])
    return owners[torch.randperm(m, generator=generator)]


def distilled(images: Tensor, texts: Tensor, image_of_text: Tensor, scale: Tensor) -> Tensor:
    """distilled_loss, by a teacher whose scores are permuted when rows are."""
    teacher = torch.sin(7 * texts @ images.T)
    return distilled_loss(images, texts, image_of_text, scale, teacher, weight=0.3, temperature=0.1)


def sigmoid(images: Tensor, texts: Tensor, image_of_text: Tensor, scale: Tensor) -> Tensor:
    return sigmoid_loss(images, texts, image_of_text, scale, -scale)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On a busy machine such small products wait minutes for four."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


LOSSES = pytest.mark.parametrize("loss", [multi_positive_loss, distilled, sigmoid])


def test_the_loss_equals_a_value_worked_out_by_hand() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # similarities, texts down, images across: [[1, 0], [0.6, 0.8]]; twice that are the logits
    texts_pick = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-0.4))) / 2
    images_pick = (math.log(1 + math.exp(-0.8)) + math.log(1 + math.exp(-1.6))) / 2
    loss = contrastive_loss(images, texts, torch.tensor(2.0))
    assert loss.item() == pytest.approx((texts_pick + images_pick) / 2, rel=1e-6)


def test_images_and_texts_may_change_places() -> None:
    images, texts, scale = unit_rows(16, 8, 0), unit_rows(16, 8, 1), torch.tensor(10.0)
    assert contrastive_loss(images, texts, scale).item() == pytest.approx(
        contrastive_loss(texts, images, scale).item(), rel=1e-6
    )


def test_an_encoder_that_knows_nothing_has_log_n_and_one_that_knows_all_has_nothing() -> None:
    same = torch.ones(8, 4) / 2
    assert contrastive_loss(same, same, torch.tensor(100.0)).item() == pytest.approx(math.log(8), rel=1e-6)
    known = torch.eye(8)
    assert contrastive_loss(known, known, torch.tensor(100.0)).item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_draws_a_pair_together_and_others_apart() -> None:
    images = unit_rows(4, 8, 0).requires_grad_()
    texts = torch.eye(8)[:4]
    contrastive_loss(images, texts, torch.tensor(5.0)).backward()
    assert images.grad is not None
    towards_own = -(images.grad * texts).sum(dim=1)
    assert (towards_own > 0).all()


@FEW
@given(n=st.integers(1, 20), d=st.integers(1, 16), scale=st.floats(0.1, MAX_LOGIT_SCALE), seed=SEEDS)
def test_one_text_for_each_image_is_the_plain_contrastive_loss(
    n: int, d: int, scale: float, seed: int
) -> None:
    images, texts = unit_rows(n, d, seed), unit_rows(n, d, seed + 1)
    inverse_temperature = torch.tensor(scale)
    plain = contrastive_loss(images, texts, inverse_temperature)
    loss = multi_positive_loss(images, texts, torch.arange(n), inverse_temperature)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6, abs=1e-6)


def test_several_texts_of_an_image_equal_a_value_worked_out_by_hand() -> None:
    images = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])  # the first two are of image 0
    # logits at scale 2, texts down, images across: [[2, 0], [1.2, 1.6], [0, 2]]
    texts_pick = (math.log1p(math.exp(-2)) + math.log1p(math.exp(0.4)) + math.log1p(math.exp(-2))) / 3
    first = math.log(math.exp(2) + math.exp(1.2) + math.exp(0)) - (2 + 1.2) / 2
    second = math.log(math.exp(0) + math.exp(1.6) + math.exp(2)) - 2
    loss = multi_positive_loss(images, texts, torch.tensor([0, 0, 1]), torch.tensor(2.0))
    assert loss.item() == pytest.approx((texts_pick + (first + second) / 2) / 2, rel=1e-6)


def test_the_texts_of_an_image_do_not_push_each_other_away() -> None:
    images = torch.eye(4)
    texts = images.repeat_interleave(2, dim=0)  # two of each, perfect
    loss = multi_positive_loss(images, texts, torch.arange(4).repeat_interleave(2), torch.tensor(100.0))
    # no text is missed; an image's belief is as even between its two texts as its target
    assert loss.item() == pytest.approx(math.log(2) / 2, rel=1e-6)


def test_an_image_without_a_text_is_a_negative_and_asks_nothing() -> None:
    images, texts, scale = unit_rows(3, 8, 0).requires_grad_(), unit_rows(2, 8, 1), torch.tensor(5.0)
    loss = multi_positive_loss(images, texts, torch.tensor([0, 1]), scale)
    logits = 5 * texts @ images.T
    texts_pick = -logits.log_softmax(dim=1)[[0, 1], [0, 1]].mean()
    images_pick = -logits.T[:2].log_softmax(dim=1)[[0, 1], [0, 1]].mean()
    assert loss.item() == pytest.approx(((texts_pick + images_pick) / 2).item(), rel=1e-6)
    loss.backward()
    assert images.grad is not None
    assert images.grad[2].abs().sum() > 0


@LOSSES
@FEW
@given(n=st.integers(1, 6), more=st.integers(0, 8), seed=SEEDS)
def test_the_order_of_images_and_of_texts_does_not_matter(loss: Loss, n: int, more: int, seed: int) -> None:
    m, scale = n + more, torch.tensor(8.0, dtype=torch.float64)
    images, texts = unit_rows(n, 5, seed, torch.float64), unit_rows(m, 5, seed + 1, torch.float64)
    image_of_text = owners(n, m, seed)
    generator = torch.Generator().manual_seed(seed)
    of_images, of_texts = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    new_place = torch.argsort(of_images)
    permuted = loss(images[of_images], texts[of_texts], new_place[image_of_text[of_texts]], scale)
    assert permuted.item() == pytest.approx(loss(images, texts, image_of_text, scale).item(), rel=1e-12)


@LOSSES
@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 5), (1, 2)])
def test_gradients_are_those_of_finite_differences(loss: Loss, n: int, m: int) -> None:
    images = unit_rows(n, 4, 0, torch.float64).requires_grad_()
    texts = unit_rows(m, 4, 1, torch.float64).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    image_of_text = owners(n, m, 0)
    fixed = unit_rows(m, n, 2, torch.float64)

    def value(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
        if loss is distilled:  # no gradient goes to the teacher, so it must not move
            return distilled_loss(images, texts, image_of_text, scale, fixed, weight=0.3, temperature=0.1)
        return loss(images, texts, image_of_text, scale)

    assert torch.autograd.gradcheck(value, (images, texts, scale))


@FEW
@given(n=st.integers(1, 6), more=st.integers(0, 8), seed=SEEDS)
def test_a_teacher_without_weight_changes_nothing(n: int, more: int, seed: int) -> None:
    images, texts, scale = unit_rows(n, 5, seed), unit_rows(n + more, 5, seed + 1), torch.tensor(9.0)
    image_of_text, teacher = owners(n, n + more, seed), unit_rows(n + more, n, seed + 2)
    loss = distilled_loss(images, texts, image_of_text, scale, teacher, weight=0, temperature=0.05)
    assert loss.item() == pytest.approx(
        multi_positive_loss(images, texts, image_of_text, scale).item(), rel=1e-6, abs=1e-6
    )


def test_a_student_that_agrees_with_its_only_teacher_has_nothing_to_learn() -> None:
    images, texts = unit_rows(4, 8, 0, torch.float64).requires_grad_(), unit_rows(6, 8, 1, torch.float64)
    scale, image_of_text = torch.tensor(20.0, dtype=torch.float64), owners(4, 6, 0)
    teacher = texts @ images.detach().T
    loss = distilled_loss(images, texts, image_of_text, scale, teacher, weight=1, temperature=1 / 20)
    loss.backward()
    assert images.grad is not None
    assert images.grad.abs().max() < 1e-12


def test_a_teacher_spares_the_false_negative_that_it_recognises() -> None:
    images = unit_rows(2, 8, 0)
    texts = images.clone().requires_grad_()
    alike, scale = torch.ones(2, 2), torch.tensor(10.0)
    pulled = []
    for weight in (0.0, 0.5):
        texts.grad = None
        loss = distilled_loss(images, texts, torch.arange(2), scale, alike, weight=weight, temperature=1.0)
        loss.backward()
        assert texts.grad is not None
        pulled.append(-(texts.grad[0] @ images[1]).item())  # of text 0, towards the other image
    assert pulled[0] < pulled[1]


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = unit_rows(3, 3, 2).requires_grad_()
    images = unit_rows(3, 8, 0).requires_grad_()
    scale = torch.tensor(5.0)
    distilled_loss(
        images, unit_rows(3, 8, 1), torch.arange(3), scale, teacher, weight=0.5, temperature=0.1
    ).backward()
    assert teacher.grad is None


@pytest.mark.parametrize(
    ("shape", "weight", "temperature"),
    [((3, 2), 0.5, 0.1), ((2, 3), 1.5, 0.1), ((2, 3), -0.1, 0.1), ((2, 3), 0.5, 0.0)],
)
def test_an_impossible_teacher_is_refused(shape: tuple[int, int], weight: float, temperature: float) -> None:
    images, texts, scale = unit_rows(3, 4, 0), unit_rows(2, 4, 1), torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"teacher_similarity|weight"):
        distilled_loss(
            images, texts, torch.tensor([0, 1]), scale, torch.zeros(shape),
            weight=weight, temperature=temperature,
        )  # fmt: skip


def test_the_sigmoid_loss_is_each_pairs_own_question() -> None:
    images, texts = unit_rows(3, 8, 0), unit_rows(5, 8, 1)
    image_of_text = [0, 2, 1, 1, 0]
    total = 0.0
    for text, own in enumerate(image_of_text):
        for image in range(3):
            logit = 7 * float(texts[text] @ images[image]) - 4
            total += math.log1p(math.exp(-logit if image == own else logit))
    loss = sigmoid_loss(images, texts, torch.tensor(image_of_text), torch.tensor([7.0]), torch.tensor([-4.0]))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


@LOSSES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@FEW
@given(n=st.integers(1, 8), more=st.integers(0, 8), seed=SEEDS, same=st.booleans())
def test_the_largest_scale_keeps_loss_and_gradient_finite(
    loss: Loss, dtype: torch.dtype, n: int, more: int, seed: int, same: bool
) -> None:
    images = (-unit_rows(1, 4, seed).expand(n, 4) if same else unit_rows(n, 4, seed)).to(dtype)
    texts = (unit_rows(1, 4, seed).expand(n + more, 4) if same else unit_rows(n + more, 4, seed + 1)).to(
        dtype
    )
    scale = torch.tensor(MAX_LOGIT_SCALE, dtype=dtype, requires_grad=True)
    leaves = [images.clone().requires_grad_(), texts.clone().requires_grad_(), scale]
    value = loss(leaves[0], leaves[1], owners(n, n + more, seed), scale)
    value.backward()
    assert value.isfinite()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, rate=st.floats(0.1, 100))
def test_a_clamped_scale_never_passes_its_bound(seed: int, rate: float) -> None:
    images, texts = unit_rows(8, 4, seed), unit_rows(8, 4, seed)  # known by heart: the scale only grows
    logarithm = torch.tensor(4.0, requires_grad=True)
    for _ in range(50):
        loss = contrastive_loss(images, texts, logarithm.exp())
        (gradient,) = torch.autograd.grad(loss, logarithm)
        with torch.no_grad():
            logarithm -= rate * gradient.sign()
            logarithm.clamp_(max=math.log(MAX_LOGIT_SCALE))
        assert loss.isfinite()
        assert logarithm.exp().item() <= MAX_LOGIT_SCALE * (1 + 1e-6)


def test_one_process_gathers_nothing() -> None:
    embeddings = unit_rows(3, 4, 0)
    assert gather_across_processes(embeddings) is embeddings


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_batch_spread_over_processes_gives_the_gradients_of_one(tmp_path: Path, processes: int) -> None:
    torch.multiprocessing.spawn(_compare_gradients, (processes, tmp_path / "meeting"), nprocs=processes)


def _compare_gradients(rank: int, processes: int, meeting: Path) -> None:
    """In each process: its share of the batch, gathered and averaged, against the whole batch alone."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes
    )
    n, m = 2, 3  # images and texts of a process
    seen = torch.randn(processes * n, 6, generator=torch.Generator().manual_seed(0))
    read = torch.randn(processes * m, 5, generator=torch.Generator().manual_seed(1))
    image_of_text = torch.cat([owners(n, m, own) + own * n for own in range(processes)])

    def learnt() -> list[Tensor]:
        generator = torch.Generator().manual_seed(2)
        weights = [torch.randn(6, 4, generator=generator), torch.randn(5, 4, generator=generator)]
        return [each.requires_grad_() for each in (*weights, torch.tensor(2.0))]

    for loss in (multi_positive_loss, distilled, sigmoid):
        alone = learnt()
        whole = loss(
            normalize(seen @ alone[0], dim=-1),
            normalize(read @ alone[1], dim=-1),
            image_of_text,
            alone[2].exp(),
        )
        whole.backward()

        shared = learnt()
        own_images, own_texts = slice(rank * n, (rank + 1) * n), slice(rank * m, (rank + 1) * m)
        spread = loss(
            gather_across_processes(normalize(seen[own_images] @ shared[0], dim=-1)),
            gather_across_processes(normalize(read[own_texts] @ shared[1], dim=-1)),
            gather_across_processes(image_of_text[own_texts]),
            shared[2].exp(),
        )
        spread.backward()
        torch.testing.assert_close(spread, whole)
        for ours, theirs in zip(shared, alone, strict=True):
            assert ours.grad is not None
            torch.distributed.all_reduce(ours.grad)
            torch.testing.assert_close(ours.grad / processes, theirs.grad, rtol=1e-4, atol=1e-6)
    torch.distributed.destroy_process_group()
