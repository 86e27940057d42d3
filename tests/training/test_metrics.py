"""Every figure against its plain, slow definition."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import (
    RETRIEVAL,
    average,
    average_precision_at,
    average_precision_of_hits,
    first_hits,
    ndcg_at,
    of_one_answer,
    recall_sum,
    recalls,
    retention,
    retrieval,
)

RANKS_OF_PHOTOS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=6)
"""For each photo the ranks of its questions."""


def numbered(of_photos: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and photo of each question, not in the photos' order."""
    ranks = np.array([rank for photo in of_photos for rank in photo])
    photo_of_question = np.repeat(np.arange(len(of_photos)), [len(photo) for photo in of_photos])
    return ranks[::-1], photo_of_question[::-1]


def plain_recall(ranks: list[int], k: int) -> float:
    return 100 * sum(rank <= k for rank in ranks) / len(ranks)


@given(of_photos=RANKS_OF_PHOTOS, data=st.data())
def test_figures_are_those_of_the_photos_as_often_as_they_were_drawn(
    of_photos: list[list[int]], data: st.DataObject
) -> None:
    ranks, photo_of_question = numbered(of_photos)
    measured = retrieval(ranks, of_one_answer(ranks), photo_of_question)
    photos = len(of_photos)
    drawn = data.draw(st.lists(st.integers(0, photos - 1), min_size=photos, max_size=photos))
    weights = np.stack([np.ones(photos), np.bincount(drawn, minlength=photos)]).astype(float)
    for row, sample in zip(measured.figures(weights), (range(photos), drawn), strict=True):
        asked = [rank for photo in sample for rank in of_photos[photo]]
        expected = {
            "recall_at_1": plain_recall(asked, 1),
            "recall_at_5": plain_recall(asked, 5),
            "recall_at_10": plain_recall(asked, 10),
            "median_rank": statistics.median(asked),
            "mean_rank": statistics.fmean(asked),
            "mean_reciprocal_rank": statistics.fmean(1 / rank for rank in asked),
            "map_at_10": statistics.fmean(1 / rank if rank <= 10 else 0 for rank in asked),
        }
        assert dict(zip(RETRIEVAL, row, strict=True)) == pytest.approx(expected)
    assert (measured.photos, measured.questions) == (photos, len(ranks))
    assert list(measured.values().values()) == pytest.approx(list(measured.figures(weights)[0]))


RIGHT_RANKS = st.lists(st.sets(st.integers(1, 25), min_size=1, max_size=14), min_size=1, max_size=5)


def plain_average_precision(right: set[int]) -> float:
    """The definition, hit by hit: the precision wherever a right answer stands among the first ten."""
    total = 0.0
    seen = 0
    for rank in range(1, 11):
        if rank in right:
            seen += 1
            total += seen / rank
    return total / min(10, len(right))


@given(of_questions=RIGHT_RANKS)
def test_average_precision_counts_every_right_answer_among_ten(of_questions: list[set[int]]) -> None:
    ranks, question_of_answer = numbered([sorted(right) for right in of_questions])
    found = average_precision_at(ranks, question_of_answer, len(of_questions))
    assert found == pytest.approx([plain_average_precision(right) for right in of_questions])
    for right, one in zip(of_questions, found, strict=True):
        hits = np.array([rank in right for rank in range(1, 11)])
        assert average_precision_of_hits(hits, len(right)) == pytest.approx(one)


def test_average_precision_by_hand() -> None:
    assert average_precision_at(np.array([1, 3, 12]), np.zeros(3, int), 1) == pytest.approx([(1 + 2 / 3) / 3])
    assert of_one_answer(np.array([1, 4, 10, 11])).tolist() == [1, 0.25, 0.1, 0]


@given(gains=st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_ndcg_is_gains_discounted_over_the_best_order(gains: list[float]) -> None:
    def plain(ordered: list[float]) -> float:
        return sum(gain / math.log2(1 + rank) for rank, gain in enumerate(ordered[:10], start=1))

    best = sorted(gains, reverse=True)
    expected = plain(gains) / plain(best) if plain(best) > 0 else 0.0
    assert ndcg_at(np.array(gains), np.array(best)) == pytest.approx(expected)
    if plain(best) > 0:
        assert ndcg_at(np.array(best), np.array(best)) == pytest.approx(1)


@given(now=RANKS_OF_PHOTOS, data=st.data())
def test_retention_is_recall_at_5_in_percent_of_what_it_was(
    now: list[list[int]], data: st.DataObject
) -> None:
    ranks, photo_of_question = numbered(now)
    before = np.array(data.draw(st.lists(st.integers(1, 30), min_size=len(ranks), max_size=len(ranks))))
    found = retention(ranks, before, photo_of_question).values()
    recalled, recalled_before = plain_recall(list(ranks), 5), plain_recall(list(before), 5)
    assert found["recall_at_5"] == pytest.approx(recalled)
    if recalled_before:
        assert found["retention_at_5"] == pytest.approx(100 * recalled / recalled_before)
    else:
        assert math.isnan(found["retention_at_5"])


def test_rsum_is_the_sum_of_six_recalls() -> None:
    photos = np.array([0, 0, 1])
    text_ranks, image_ranks = np.array([1, 7, 4]), np.array([1, 11])
    text_to_image = retrieval(text_ranks, of_one_answer(text_ranks), photos)
    image_to_text = retrieval(image_ranks, of_one_answer(image_ranks), np.arange(2))
    third = 100 / 3
    assert recall_sum(text_to_image, image_to_text).values() == {
        "rsum": pytest.approx(third + 2 * third + 100 + 3 * 50)
    }
    assert recall_sum(text_to_image, image_to_text).questions == 5


def test_where_only_ten_hits_are_known_the_rest_is_not_said() -> None:
    ranks, photos = np.array([2, 11]), np.array([0, 0])
    assert first_hits(ranks, photos).values() == {
        "recall_at_1": 0, "recall_at_5": 50, "recall_at_10": 50, "map_at_10": 0.25,
    }  # fmt: skip


def test_an_average_of_figures_is_their_mean_name_by_name() -> None:
    photos = np.arange(2)
    one, other = recalls(np.array([1, 1]), photos), recalls(np.array([7, 20]), photos)
    assert average([one, other]).values() == {"recall_at_1": 50, "recall_at_5": 50, "recall_at_10": 75}
