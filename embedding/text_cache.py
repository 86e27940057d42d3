"""TextCache: a text that was asked before costs no forward pass, and one asked by many at once costs one."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class TextCache:
    """The embeddings of the texts asked last, least recently used out first; for one event loop.

    A key is the SHA-256 of fingerprint and text: short whatever the text, not the text itself, and no other
    encoder's.
    """

    def __init__(
        self,
        encode: Callable[[str], Awaitable[Floats]],
        *,
        fingerprint: str,
        size: int,
        on_asked: Callable[[bool], None] = lambda _hit: None,
    ) -> None:
        """Take what encodes a text that is not there.

        Args:
            encode: a text to float32 (d,); MicroBatcher.encode, say.
            fingerprint: whose embeddings these are.
            size: most embeddings kept; 0 keeps none, and equal texts at once still share one computation.
            on_asked: told of each text whether its embedding was there, or on its way.
        """
        self._encode = encode
        self._fingerprint = fingerprint
        self._size = size
        self._rows: OrderedDict[bytes, Floats] = OrderedDict()
        self._computing: dict[bytes, _Shared] = {}
        self._on_asked = on_asked

    def __len__(self) -> int:
        return len(self._rows)

    async def encode(self, text: str) -> Floats:
        """Return float32 (d,), not to be written to.

        A caller that is cancelled takes nobody along; with the last of them the computation ends.

        Raises:
            Exception: whatever the encode function raises for this text; that is not kept.
        """
        key = hashlib.sha256(f"{self._fingerprint} {text}".encode("utf-8", "surrogatepass")).digest()
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
            self._on_asked(True)
            return row
        shared = self._computing.get(key)
        self._on_asked(shared is not None)
        if shared is None:
            shared = self._computing[key] = _Shared(asyncio.ensure_future(self._compute(key, text)))
        shared.callers += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.callers -= 1
            if shared.callers == 0:
                shared.task.cancel()  # nothing happens to one that is done
                if self._computing.get(key) is shared:
                    del self._computing[key]

    async def _compute(self, key: bytes, text: str) -> Floats:
        row = (await self._encode(text)).copy()  # not a view that keeps its whole batch alive
        row.flags.writeable = False
        if self._size:
            self._rows[key] = row
            if len(self._rows) > self._size:
                self._rows.popitem(last=False)
        return row


@dataclass(slots=True)
class _Shared:
    """A computation under way, and how many wait for it."""

    task: asyncio.Future[Floats]
    callers: int = 0
