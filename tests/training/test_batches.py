import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training.batches import PlainPairBatches, UniquePhotoBatches, epoch_captions, false_negative_rows

UNHURRIED = settings(deadline=None)  # a busy machine is no failure
SEEDS = st.integers(0, 2**40)
EPOCHS = st.integers(0, 500)
COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=40)


@UNHURRIED
@given(n=st.integers(1, 80), size=st.integers(1, 90), seed=SEEDS, epoch=EPOCHS, drop_last=st.booleans())
def test_no_photo_comes_twice_in_an_epoch(n: int, size: int, seed: int, epoch: int, drop_last: bool) -> None:
    assume(size <= n or not drop_last)
    batches = UniquePhotoBatches(n, size, seed, drop_last=drop_last)
    given = list(batches.epoch(epoch))
    assert len(given) == len(batches)
    photos = np.concatenate(given)
    assert photos.dtype == np.int64
    assert len(np.unique(photos)) == len(photos)
    assert photos.min() >= 0
    assert photos.max() < n
    assert all(len(batch) == size for batch in given[:-1])
    if drop_last:
        assert len(given[-1]) == size
        assert n - len(photos) < size
    else:
        assert len(photos) == n


@UNHURRIED
@given(counts=COUNTS, size=st.integers(1, 90), seed=SEEDS, epoch=EPOCHS)
def test_every_pair_comes_once_an_epoch(counts: list[int], size: int, seed: int, epoch: int) -> None:
    batches = PlainPairBatches(counts, size, seed)
    given = list(batches.epoch(epoch))
    assert len(given) == len(batches)
    assert all(batch.dtype == np.int64 for batch in given)
    pairs = [tuple(pair) for batch in given for pair in batch.tolist()]
    assert sorted(pairs) == [(photo, caption) for photo, n in enumerate(counts) for caption in range(n)]


@UNHURRIED
@given(n=st.integers(2, 60), size=st.integers(1, 20), seed=SEEDS, epoch=EPOCHS, data=st.data())
def test_a_resumed_run_gets_the_batches_that_it_would_have_got(
    n: int, size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    unique, plain = UniquePhotoBatches(n, size, seed, drop_last=False), PlainPairBatches([2] * n, size, seed)
    for batches, anew in (
        (unique, UniquePhotoBatches(n, size, seed, drop_last=False)),
        (plain, PlainPairBatches([2] * n, size, seed)),
    ):
        whole = [batch.copy() for batch in batches.epoch(epoch)]
        stopped = data.draw(st.integers(0, len(batches) - 1))
        assert next(batches.epoch(epoch + 1)).shape  # what was asked for in between does not matter
        rest = list(anew.epoch(epoch, first_step=stopped))
        assert len(rest) == len(whole) - stopped
        assert all(np.array_equal(*two) for two in zip(rest, whole[stopped:], strict=True))
        assert np.array_equal(anew.batch(epoch, stopped), whole[stopped])


@UNHURRIED
@given(
    share=st.integers(1, 6), world_size=st.integers(1, 5), steps=st.integers(1, 4), seed=SEEDS, epoch=EPOCHS
)
def test_the_ranks_share_each_batch_equally_and_in_order(
    share: int, world_size: int, steps: int, seed: int, epoch: int
) -> None:
    size = share * world_size
    n = size * steps
    unique = [
        UniquePhotoBatches(n, size, seed, drop_last=True, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    plain = [
        PlainPairBatches([1] * n, size, seed, world_size=world_size, rank=rank) for rank in range(world_size)
    ]
    for ranks, alone in (
        (unique, UniquePhotoBatches(n, size, seed, drop_last=True)),
        (plain, PlainPairBatches([1] * n, size, seed)),
    ):
        for step in range(len(alone)):
            shares = [batches.batch(epoch, step) for batches in ranks]
            assert all(len(each) == share for each in shares)
            assert np.array_equal(np.concatenate(shares), alone.batch(epoch, step))


@UNHURRIED
@given(counts=COUNTS, texts=st.integers(1, 9), seed=SEEDS, epoch=EPOCHS)
def test_captions_are_distinct_where_there_are_enough(
    counts: list[int], texts: int, seed: int, epoch: int
) -> None:
    chosen = epoch_captions(counts, texts, epoch, seed)
    assert chosen.dtype == np.int64
    assert chosen.shape == (len(counts), texts)
    for row, n in zip(chosen, counts, strict=True):
        captions, times = np.unique(row, return_counts=True)
        assert captions.min() >= 0
        assert captions.max() < n
        assert len(captions) == min(n, texts)
        assert times.max() - times.min() <= 1
    assert np.array_equal(chosen, epoch_captions(counts, texts, epoch, seed))


def test_every_caption_is_as_likely_as_the_others_and_all_orders_are() -> None:
    chosen = epoch_captions([5] * 20_000, 2, epoch=3, seed=0)
    times = np.bincount(5 * chosen[:, 0] + chosen[:, 1], minlength=25).reshape(5, 5)
    assert (times.diagonal() == 0).all()
    assert (np.abs(times[~np.eye(5, dtype=bool)] - 1000) < 150).all()


def test_epochs_and_seeds_and_streams_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return UniquePhotoBatches(100, 100, seed, drop_last=True).batch(epoch, 0).tolist()

    def pairs(seed: int, epoch: int) -> list[int]:
        return PlainPairBatches([1] * 100, 100, seed).batch(epoch, 0)[:, 0].tolist()

    def captions(seed: int, epoch: int) -> list[int]:
        return epoch_captions([5] * 100, 1, epoch, seed)[:, 0].tolist()

    for stream in (order, pairs, captions):
        assert stream(0, 0) == stream(0, 0)
        assert len({tuple(stream(*which)) for which in [(0, 0), (0, 1), (1, 0), (1, 1), (2**33, 0)]}) == 5
    assert order(0, 0) != pairs(0, 0)


def test_false_negatives_are_counted_row_by_row() -> None:
    assert false_negative_rows(np.array([[0, 0], [1, 0], [0, 3], [2, 1], [0, 1], [2, 0]])) == 5
    assert false_negative_rows(np.array([[0, 0], [1, 0], [2, 0]])) == 0
    assert false_negative_rows(np.empty((0, 2), np.int64)) == 0


@pytest.mark.parametrize(("size", "percent"), [(256, 3.3), (1024, 12.8)])
def test_plain_pairs_of_flickr8k_have_as_many_false_negatives_as_chance_says(
    size: int, percent: float
) -> None:
    batches = PlainPairBatches([5] * 6000, size, seed=0, drop_last=True)
    rows = [false_negative_rows(batch) for epoch in range(3) for batch in batches.epoch(epoch)]
    assert 100 * np.mean(rows) / size == pytest.approx(percent, abs=0.4)
    photos = UniquePhotoBatches(6000, size, seed=0, drop_last=True).batch(0, 0)
    assert false_negative_rows(np.column_stack([photos, np.zeros_like(photos)])) == 0


def test_a_batch_may_be_written_to_without_harm() -> None:
    for batches in (UniquePhotoBatches(8, 4, 0, drop_last=True), PlainPairBatches([2] * 4, 4, 0)):
        before = batches.batch(0, 0).copy()
        batches.batch(0, 0)[:] = -1
        assert np.array_equal(batches.batch(0, 0), before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 11}, "make no batch"),
        ({"batch_size": 4, "world_size": 3}, "shared equally"),
        ({"batch_size": 4, "world_size": 4, "drop_last": False}, "the last batch, of 2"),
        ({"batch_size": 4, "world_size": 2, "rank": 2}, "rank"),
        ({"batch_size": 4, "world_size": 0}, "world_size"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniquePhotoBatches(10, seed=0, **({"drop_last": True} | changed))
    with pytest.raises(ValueError, match=message):
        PlainPairBatches([1] * 10, seed=0, **({"drop_last": True} | changed))


@pytest.mark.parametrize("step", [-1, 2])
def test_a_step_that_an_epoch_does_not_have_is_refused(step: int) -> None:
    with pytest.raises(IndexError, match="steps 0 to 1"):
        UniquePhotoBatches(10, 5, 0, drop_last=True).batch(0, step)
    with pytest.raises(IndexError, match="steps 0 to 1"):
        PlainPairBatches([1] * 10, 5, 0).batch(0, step)


def test_a_photo_without_captions_is_named() -> None:
    with pytest.raises(ValueError, match="photo 1 has 0 captions"):
        epoch_captions([5, 0], 1, 0, 0)
    with pytest.raises(ValueError, match="photo 1 has 0 captions"):
        PlainPairBatches([5, 0], 2, 0)
    with pytest.raises(ValueError, match="texts_per_photo"):
        epoch_captions([5], 0, 0, 0)
