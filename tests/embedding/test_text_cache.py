"""What askers of TextCache may rely on."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from embedding.text_cache import TextCache


class Tower:
    """Turns a text into its length, counts what it was asked, and may be held."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.cancelled = 0
        self.hits: list[bool] = []
        self.free = asyncio.Event()
        self.free.set()

    async def encode(self, text: str) -> NDArray[np.float32]:
        self.asked[text] += 1
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if text == "bad":
            raise ValueError("bad text")
        return np.full((8, 2), len(text), np.float32)[3]


@pytest.fixture
def tower() -> Tower:
    return Tower()


def cache_of(tower: Tower, size: int = 3, fingerprint: str = "f") -> TextCache:
    return TextCache(tower.encode, fingerprint=fingerprint, size=size, on_asked=tower.hits.append)


async def test_a_text_asked_again_is_not_computed_again(tower: Tower) -> None:
    cache = cache_of(tower)
    first, again = [await cache.encode("a dog") for _ in range(2)]
    assert first.tolist() == again.tolist() == [5, 5]
    assert (tower.asked["a dog"], tower.hits) == (1, [False, True])


async def test_equal_texts_at_once_share_one_computation(tower: Tower) -> None:
    tower.free.clear()
    cache = cache_of(tower)
    callers = [asyncio.create_task(cache.encode("a dog")) for _ in range(5)]
    await asyncio.sleep(0)
    tower.free.set()
    rows = await asyncio.gather(*callers)
    assert [row.tolist() for row in rows] == [[5, 5]] * 5
    assert (tower.asked["a dog"], tower.hits) == (1, [False, True, True, True, True])


async def test_the_least_recently_asked_leaves_first(tower: Tower) -> None:
    cache = cache_of(tower, size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await cache.encode(text)
    assert tower.asked == {"a": 1, "b": 2, "c": 1}
    assert len(cache) == 2


async def test_without_room_nothing_is_kept_and_equal_texts_still_share(tower: Tower) -> None:
    cache = cache_of(tower, size=0)
    await asyncio.gather(cache.encode("a"), cache.encode("a"))
    await cache.encode("a")
    assert (tower.asked["a"], len(cache)) == (2, 0)


async def test_another_encoder_has_other_entries(tower: Tower) -> None:
    one, other = cache_of(tower, fingerprint="f"), cache_of(tower, fingerprint="g")
    other._rows = one._rows  # one store, as after a change of encoder
    await one.encode("a")
    await other.encode("a")
    assert tower.asked["a"] == 2


async def test_a_caller_who_leaves_takes_nobody_along(tower: Tower) -> None:
    tower.free.clear()
    cache = cache_of(tower)
    leaves, stays = (asyncio.create_task(cache.encode("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    tower.free.set()
    assert (await stays).tolist() == [1, 1]
    assert tower.asked["a"] == 1


async def test_the_last_caller_who_leaves_ends_the_computation_and_the_next_starts_afresh(
    tower: Tower,
) -> None:
    tower.free.clear()
    cache = cache_of(tower)
    callers = [asyncio.create_task(cache.encode("a")) for _ in range(2)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.sleep(0)
    late = asyncio.create_task(cache.encode("a"))
    await asyncio.sleep(0)
    tower.free.set()
    assert (await late).tolist() == [1, 1]
    assert (tower.asked["a"], tower.cancelled) == (2, 1)


async def test_a_failure_is_everyones_who_asked_and_is_not_kept(tower: Tower) -> None:
    cache = cache_of(tower)
    errors = await asyncio.gather(*(cache.encode("bad") for _ in range(2)), return_exceptions=True)
    assert [str(error) for error in errors] == ["bad text"] * 2
    with pytest.raises(ValueError, match="bad text"):
        await cache.encode("bad")
    assert tower.asked["bad"] == 2


async def test_a_kept_row_cannot_be_spoilt_and_holds_no_batch(tower: Tower) -> None:
    row = await cache_of(tower).encode("a")
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 7
    assert row.base is None


async def test_any_text_has_a_key(tower: Tower) -> None:
    cache = cache_of(tower)
    for text in ("", "\0", "\ud800", "dương", "đường"):
        await cache.encode(text)
    assert max(tower.asked.values()) == 1
