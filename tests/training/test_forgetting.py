"""Agreement with the start, on similarities made by hand."""

import numpy as np
import pytest

from training.forgetting import agreement, general_questions


def test_the_same_similarities_agree_wholly_and_reversed_ones_not_at_all() -> None:
    similarities = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)
    assert agreement(similarities, similarities) == 100
    assert agreement(similarities, -similarities) == 0


def test_agreement_is_the_share_of_the_first_k_in_common() -> None:
    before = np.array([[9, 8, 7, 1, 0], [5, 4, 3, 2, 1]], np.float32)
    now = np.array([[9, 8, 0, 7, 1], [5, 4, 3, 1, 2]], np.float32)
    assert agreement(before, now, k=3) == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert agreement(before, now, k=10) == 100, "fewer photos than k: all are found"


def test_general_questions_are_two_hundred_different_ones() -> None:
    assert len(set(general_questions())) == len(general_questions()) == 200
