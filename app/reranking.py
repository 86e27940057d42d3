"""A second opinion on the order of hits: a function of the operator's own, named by the setting `reranker`.

It puts the hits of the page that was asked for in another order; which they are it does not change. So pages
still neither repeat nor drop a picture, and the receipt's SQL still gives the same rows.
"""

import asyncio
import importlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

from app.errors import SettingsError
from db.searching import Hit


class Reranker(Protocol):
    """Gives each hit a number, in their order; the highest comes first, and equal ones stay as they were.

    words are the question's, joined, "" where there are none. Called in a thread, by several at a time.
    """

    def __call__(self, words: str, hits: Sequence[Hit], /) -> Sequence[float]: ...


def load_reranker(path: str | None) -> Reranker | None:
    """Return the function at "package.module:function"; None has none.

    Raises:
        SettingsError: nothing of that name can be imported, or it cannot be called.
    """
    if path is None:
        return None
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"reranker is {path!r}, which cannot be imported ({error}); write it as package.module:function"
        ) from error
    if not callable(found):
        raise SettingsError(f"reranker is {path!r}, which is no function")
    return cast(Reranker, found)


async def rerank(reranker: Reranker, words: str, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits in the reranker's order, with the ranks of the page.

    Raises:
        ValueError: the reranker did not give a finite number for each hit.
    """
    numbers = [float(number) for number in await asyncio.to_thread(reranker, words, hits)]
    if len(numbers) != len(hits) or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"the reranker gave {len(numbers)} numbers for {len(hits)} hits, or one that is none"
        )
    order = sorted(range(len(hits)), key=lambda place: -numbers[place])
    return [replace(hits[place], rank=hit.rank) for place, hit in zip(order, hits, strict=True)]
