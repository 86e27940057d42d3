"""What callers of MicroBatcher may rely on."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embedding.batching import MicroBatcher
from embedding.errors import EncoderBusyError, EncoderOutOfMemoryError


class Device:
    """Turns a number into (number, its square); slow or held, it counts what it was asked."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()

    def encode(self, items: Sequence[int]) -> NDArray[np.float32]:
        self.batches.append(list(items))
        time.sleep(self.seconds)
        assert self.free.wait(10)
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {min(items)}")
        return np.array([[item, item**2] for item in items], np.float32)


async def until_busy(device: Device) -> None:
    while not device.batches:
        await asyncio.sleep(0.001)


async def test_concurrent_callers_share_forward_passes_and_each_gets_its_own_row() -> None:
    device = Device(seconds=0.01)
    async with MicroBatcher(device.encode, max_batch=32, max_queued=100) as batcher:
        rows = await asyncio.gather(*(batcher.encode(number) for number in range(64)))
    assert [row.tolist() for row in rows] == [[number, number**2] for number in range(64)]
    assert len(device.batches) <= 4
    assert sorted(item for batch in device.batches for item in batch) == list(range(64))


async def test_no_batch_is_larger_than_allowed() -> None:
    device = Device(seconds=0.001)
    async with MicroBatcher(device.encode, max_batch=3, max_queued=100) as batcher:
        await asyncio.gather(*(batcher.encode(number) for number in range(20)))
    assert max(map(len, device.batches)) == 3


async def test_a_lone_caller_waits_for_no_company() -> None:
    device = Device()
    async with MicroBatcher(device.encode, max_batch=32, max_queued=100) as batcher:
        took = []
        for number in range(50):
            start = time.perf_counter()
            await batcher.encode(number)
            took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.005  # 0.1 ms on an idle machine


async def test_a_full_queue_refuses_at_once() -> None:
    device = Device()
    device.free.clear()
    async with MicroBatcher(device.encode, max_batch=1, max_queued=2) as batcher:
        tasks = [asyncio.create_task(batcher.encode(0))]
        await until_busy(device)
        tasks += [asyncio.create_task(batcher.encode(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(EncoderBusyError, match="2 items wait"):
            await asyncio.wait_for(batcher.encode(3), timeout=0.5)
        device.free.set()
        assert [row[0] for row in await asyncio.gather(*tasks)] == [0, 1, 2]


@pytest.mark.parametrize("max_queued", [2, 8])
async def test_a_cancelled_caller_costs_nothing_and_frees_its_place(max_queued: int) -> None:
    device = Device()
    device.free.clear()
    async with MicroBatcher(device.encode, max_batch=8, max_queued=max_queued) as batcher:
        first = asyncio.create_task(batcher.encode(0))
        await until_busy(device)
        gone, stays = (asyncio.create_task(batcher.encode(number)) for number in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        late = asyncio.create_task(batcher.encode(3))
        await asyncio.sleep(0)
        device.free.set()
        assert [row[0] for row in await asyncio.gather(first, stays, late)] == [0, 2, 3]
    assert device.batches == [[0], [2, 3]]


async def test_a_caller_cancelled_while_its_batch_runs_takes_nobody_along() -> None:
    device = Device()
    device.free.clear()
    async with MicroBatcher(device.encode, max_batch=8, max_queued=8) as batcher:
        first = asyncio.create_task(batcher.encode(0))
        await until_busy(device)
        first.cancel()
        await asyncio.sleep(0)
        device.free.set()
        assert (await batcher.encode(5)).tolist() == [5, 25]


async def test_one_failing_input_fails_alone() -> None:
    device = Device(seconds=0.005)
    async with MicroBatcher(device.encode, max_batch=8, max_queued=8) as batcher:
        answers = await asyncio.gather(
            *(batcher.encode(number) for number in (1, -2, 3, -4)), return_exceptions=True
        )
        assert (await batcher.encode(6)).tolist() == [6, 36]
    good, bad = answers[::2], answers[1::2]
    assert [row.tolist() for row in good if isinstance(row, np.ndarray)] == [[1, 1], [3, 9]]
    assert [str(error) for error in bad] == ["negative: -2", "negative: -4"]


async def test_a_batch_too_large_for_the_device_goes_in_smaller_ones() -> None:
    sizes: list[int] = []

    def encode(items: Sequence[int]) -> NDArray[np.float32]:
        if len(items) > 3:
            raise EncoderOutOfMemoryError("full")
        return np.array([[item] for item in items], np.float32)

    async with MicroBatcher(
        encode, max_batch=16, max_queued=16, on_batch=lambda size, _: sizes.append(size)
    ) as batcher:
        rows = await asyncio.gather(*(batcher.encode(number) for number in range(10)))
    assert [row.tolist() for row in rows] == [[number] for number in range(10)]
    assert sum(sizes) == 10
    assert max(sizes) <= 3


async def test_it_tells_what_waits_and_what_was_encoded() -> None:
    device = Device(seconds=0.01)
    device.free.clear()
    told: list[tuple[int, float]] = []
    async with MicroBatcher(
        device.encode, max_batch=8, max_queued=8, on_batch=lambda *batch: told.append(batch)
    ) as batcher:
        callers = [asyncio.create_task(batcher.encode(0))]
        await until_busy(device)
        callers += [asyncio.create_task(batcher.encode(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        assert batcher.queued == 2
        device.free.set()
        await asyncio.gather(*callers)
        assert batcher.queued == 0
    assert [size for size, _ in told] == [1, 2]
    assert all(seconds >= 0.01 for _, seconds in told)


async def test_a_batch_never_changes_length_in_silence() -> None:
    async with MicroBatcher(lambda items: np.zeros((2, 3), np.float32), max_batch=4, max_queued=4) as batcher:
        with pytest.raises(ValueError, match="2 rows for 1 items"):
            await batcher.encode("x")


async def test_stopping_answers_the_running_batch_and_refuses_who_waits() -> None:
    device = Device()
    device.free.clear()
    async with MicroBatcher(device.encode, max_batch=1, max_queued=8) as batcher:
        running = asyncio.create_task(batcher.encode(1))
        await until_busy(device)
        waiting = [asyncio.create_task(batcher.encode(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.02, device.free.set)
    assert (await running).tolist() == [1, 1]
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, EncoderBusyError)
    with pytest.raises(EncoderBusyError, match="not running"):
        await batcher.encode(4)
    assert device.batches == [[1]]


async def test_who_waits_for_anothers_turn_is_refused_at_the_stop() -> None:
    device, lock = Device(), asyncio.Lock()
    await lock.acquire()
    async with MicroBatcher(device.encode, max_batch=1, max_queued=8, lock=lock) as batcher:
        waiting = asyncio.create_task(batcher.encode(1))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.01, lock.release)
    with pytest.raises(EncoderBusyError, match="stopping"):
        await waiting
    assert device.batches == []


async def test_a_stop_that_is_cut_short_leaves_nobody_waiting() -> None:
    device = Device()
    device.free.clear()
    batcher = MicroBatcher(device.encode, max_batch=1, max_queued=8)
    await batcher.__aenter__()
    callers = [asyncio.create_task(batcher.encode(number)) for number in (1, 2)]
    await until_busy(device)
    stop = asyncio.create_task(batcher.__aexit__(None, None, None))
    await asyncio.sleep(0)
    stop.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), timeout=5)
    assert all(isinstance(error, EncoderBusyError) for error in answers)
    device.free.set()


async def test_it_may_be_started_again() -> None:
    batcher = MicroBatcher(Device().encode, max_batch=4, max_queued=4)
    for number in (1, 2):
        async with batcher:
            assert (await batcher.encode(number))[0] == number


async def test_batchers_that_share_a_device_take_turns() -> None:
    at_once: list[int] = []
    active = 0

    def encode(items: Sequence[int]) -> NDArray[np.float32]:
        nonlocal active
        active += 1
        at_once.append(active)
        time.sleep(0.002)
        active -= 1
        return np.zeros((len(items), 1), np.float32)

    lock = asyncio.Lock()
    async with (
        MicroBatcher(encode, max_batch=2, max_queued=50, lock=lock) as texts,
        MicroBatcher(encode, max_batch=2, max_queued=50, lock=lock) as images,
    ):
        await asyncio.gather(*(batcher.encode(at) for at in range(20) for batcher in (texts, images)))
    assert set(at_once) == {1}


def test_bounds_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(ValueError, match="start at 1"):
        MicroBatcher(Device().encode, max_batch=0, max_queued=1)
