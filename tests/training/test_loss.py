import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.loss import contrastive_loss


def unit_rows(n: int, d: int, seed: int) -> Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


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
