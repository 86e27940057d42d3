import numpy as np
import pytest

from training import bootstrap
from training.bootstrap import differences, estimates, weights_of_resamples
from training.metrics import Measured, mean_of, retention


def hits(found: np.ndarray) -> Measured:
    """Percent found, from bool (photos, captions)."""
    photos, captions = found.shape
    return mean_of(("found",), 100.0 * found.reshape(-1, 1), np.repeat(np.arange(photos), captions))


def questions_of_photos(rng: np.random.Generator, photos: int = 100) -> np.ndarray:
    """Whether captions find their photo: easy photos and hard ones, half of all captions in the long run."""
    easy = rng.beta(0.5, 0.5, photos)
    return rng.random((photos, 5)) < easy[:, None]


def test_a_resample_draws_as_many_photos_as_there_are() -> None:
    weights = np.concatenate(list(weights_of_resamples(30, samples=200, seed=1)))
    assert weights.shape == (200, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.4)
    assert len(np.unique(weights, axis=0)) == 200


def test_intervals_do_not_depend_on_how_many_resamples_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = {"here": hits(questions_of_photos(np.random.default_rng(0)))}
    whole = estimates(measured, samples=300)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 700)
    in_blocks = estimates(measured, samples=300)["here"]["found"]
    assert in_blocks.value == whole["here"]["found"].value
    assert in_blocks.low == pytest.approx(whole["here"]["found"].low, abs=1e-9)


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100() -> None:
    """And one that took captions for independent would not: those of a photo are found or missed together."""
    rng = np.random.default_rng(2)
    held = held_by_captions = 0
    for _ in range(300):
        found = questions_of_photos(rng)
        by_photos = estimates({"": hits(found)}, samples=400)[""]["found"]
        by_captions = estimates({"": hits(found.reshape(-1, 1))}, samples=400)[""]["found"]
        held += by_photos.low <= 50 <= by_photos.high
        held_by_captions += by_captions.low <= 50 <= by_captions.high
    assert 0.91 <= held / 300 <= 0.98
    assert held_by_captions / 300 < 0.85


def test_the_interval_of_a_mean_is_as_wide_as_the_textbook_says() -> None:
    found = np.random.default_rng(3).random((400, 1)) < 0.3
    one = estimates({"": hits(found)})[""]["found"]
    share = found.mean()
    error = 100 * np.sqrt(share * (1 - share) / 400)
    assert one.value == pytest.approx(100 * share)
    assert one.high - one.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_a_comparison_is_paired() -> None:
    rng = np.random.default_rng(4)
    found = questions_of_photos(rng)
    better = found | (rng.random(found.shape) < 0.06)  # a little better on the very same questions
    alone = estimates({"ours": hits(better), "theirs": hits(found)}, samples=2000)
    assert alone["ours"]["found"].low < alone["theirs"]["found"].high  # apart, nothing could be said
    difference = differences({"": hits(better)}, {"": hits(found)}, samples=2000)[""]["found"]
    assert difference.value == pytest.approx(100 * (better.mean() - found.mean()))
    assert difference.differs
    assert difference.low > 0
    other_way = differences({"": hits(found)}, {"": hits(better)}, samples=2000)[""]["found"]
    assert other_way.high < 0
    assert other_way.differs


def test_equal_encoders_do_not_differ() -> None:
    found = questions_of_photos(np.random.default_rng(5))
    same = differences({"": hits(found)}, {"": hits(found)}, samples=200)[""]["found"]
    assert (same.value, same.low, same.high, same.differs) == (0, 0, 0, False)


def test_equally_good_encoders_are_told_apart_about_5_times_in_100() -> None:
    rng = np.random.default_rng(6)
    told_apart = 0
    for _ in range(200):
        easy = rng.beta(0.5, 0.5, (80, 1))
        ours, theirs = (hits(rng.random((80, 5)) < easy) for _ in range(2))
        told_apart += differences({"": ours}, {"": theirs}, samples=300)[""]["found"].differs
    assert told_apart / 200 <= 0.1


def test_only_the_same_questions_are_compared() -> None:
    found = questions_of_photos(np.random.default_rng(7))
    with pytest.raises(ValueError, match="same"):
        differences({"": hits(found)}, {"": hits(found[1:])})
    with pytest.raises(ValueError, match="same"):
        differences({"here": hits(found)}, {"there": hits(found)})


def test_resamples_in_which_a_ratio_is_not_defined_are_left_out() -> None:
    photos = np.arange(3)
    some = retention(np.array([1, 9, 9]), np.array([1, 9, 9]), photos)  # a third of resamples lack photo 0
    one = estimates({"": some}, samples=500)[""]["retention_at_5"]
    assert (one.value, one.low, one.high) == (100, 100, 100)
    never = estimates({"": retention(np.array([9]), np.array([9]), np.arange(1))}, samples=100)[""]
    assert np.isnan([never["retention_at_5"].value, never["retention_at_5"].low]).all()
    assert never["recall_at_5"].value == 0


def test_figures_come_back_in_the_order_they_were_given() -> None:
    rng = np.random.default_rng(8)
    measured = {
        name: hits(questions_of_photos(rng, photos)) for name, photos in (("b", 9), ("a", 4), ("c", 9))
    }
    assert list(estimates(measured, samples=100)) == ["b", "a", "c"]
