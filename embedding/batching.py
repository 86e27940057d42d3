"""MicroBatcher: concurrent callers share one forward pass, without timers.

Whatever has queued while the device was busy goes as the next batch: alone, a caller never waits for company;
in a crowd, the batches grow by themselves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedding.errors import EncoderBusyError

T = TypeVar("T")
Floats = NDArray[np.float32]


class MicroBatcher(Generic[T]):
    """Encodes one item a call, for many callers at a time; it runs inside its `async with`."""

    def __init__(
        self,
        encode: Callable[[Sequence[T]], Floats],
        *,
        max_batch: int,
        max_queued: int,
        lock: asyncio.Lock | None = None,
        on_batch: Callable[[int, float], None] = lambda _size, _seconds: None,
    ) -> None:
        """Take the function that encodes.

        Args:
            encode: n items to float32 (n, d), row i for item i; called in a thread, one call at a time.
            max_batch: items in one call, at most.
            max_queued: items that may wait; one more is refused.
            lock: shared by batchers that take turns on one device.
            on_batch: told the size of each batch that was encoded, and the seconds that took.
        """
        if max_batch < 1 or max_queued < 1:
            raise ValueError(f"max_batch and max_queued start at 1, not {max_batch} and {max_queued}")
        self._encode = encode
        self._max_batch = max_batch
        self._max_queued = max_queued
        self._on_batch = on_batch
        self._turn: AbstractAsyncContextManager[None] = nullcontext() if lock is None else lock
        self._queue: deque[_Waiting[T]] = deque()
        self._arrival = asyncio.Event()
        self._stopping = False
        self._worker: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Items that wait for the device; not those on it."""
        return len(self._queue)

    async def encode(self, item: T) -> Floats:
        """Return float32 (d,): this item's row of the batch that it went with.

        A caller that is cancelled while it waits costs nothing; its item is dropped.

        Raises:
            EncoderBusyError: max_queued items wait already, or the batcher is not running; at once.
            Exception: whatever the encode function raises for this item alone.
        """
        if self._worker is None or self._stopping:
            raise EncoderBusyError(
                "the encoder is not running: it is starting or stopping; try again shortly"
            )
        if len(self._queue) >= self._max_queued:
            self._queue = deque(waiting for waiting in self._queue if not waiting.row.done())
        if len(self._queue) >= self._max_queued:
            raise EncoderBusyError(
                f"{self._max_queued} items wait for the encoder already; try again shortly"
            )
        waiting = _Waiting(item)
        self._queue.append(waiting)
        self._arrival.set()
        return await waiting.row

    async def __aenter__(self) -> Self:
        self._stopping = False
        self._worker = asyncio.create_task(self._work(), name="micro-batcher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: the batch on the device is finished and answered, and all who still wait are refused."""
        self._stopping = True
        self._arrival.set()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker

    async def _work(self) -> None:
        # A thread of its own: those of asyncio.to_thread may all be busy decoding pictures.
        thread = ThreadPoolExecutor(1, thread_name_prefix="micro-batcher")
        batch: list[_Waiting[T]] = []
        try:
            while not self._stopping:
                await self._arrival.wait()
                async with self._turn:  # before taking: who comes during the wait for the device comes along
                    batch = [] if self._stopping else self._take()
                    await self._answer(batch, thread)
        finally:
            self._stopping = True
            for waiting in (*batch, *self._queue):
                waiting.fail(EncoderBusyError("the encoder is stopping; try again shortly"))
            self._queue.clear()
            thread.shutdown(wait=False)

    def _take(self) -> "list[_Waiting[T]]":
        """Return the first max_batch items whose callers still wait."""
        batch: list[_Waiting[T]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if not waiting.row.done():
                batch.append(waiting)
        if not self._queue:
            self._arrival.clear()
        return batch

    async def _answer(self, batch: "Sequence[_Waiting[T]]", thread: ThreadPoolExecutor) -> None:
        """Give each caller its row; where the batch fails, go by halves, so that one item fails alone.

        Halves are also what fits where the whole was too much for the device's memory.
        """
        batch = [waiting for waiting in batch if not waiting.row.done()]
        if not batch:
            return
        started = time.perf_counter()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(thread, self._encode_all, batch)
        except Exception as error:  # noqa: BLE001 - not swallowed: the caller gets it
            if len(batch) == 1:
                batch[0].fail(error)
                return
            middle = len(batch) // 2
            await self._answer(batch[:middle], thread)
            await self._answer(batch[middle:], thread)
            return
        self._on_batch(len(batch), time.perf_counter() - started)
        for waiting, row in zip(batch, rows, strict=True):
            if not waiting.row.done():
                waiting.row.set_result(row)

    def _encode_all(self, batch: "Sequence[_Waiting[T]]") -> Floats:
        rows = self._encode([waiting.item for waiting in batch])
        if len(rows) != len(batch):
            raise ValueError(f"the encoder gave {len(rows)} rows for {len(batch)} items")
        return rows


class _Waiting(Generic[T]):
    """An item and its caller's row to come; a row done while still queued is a caller who was cancelled."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.row: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.row.done():
            self.row.set_exception(error)
