"""A text that is longer than an encoder reads, in parts that it does read."""

import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"(?<=[.!?…;])\s+|\n+")
_CLAUSE_END = re.compile(r"(?<=[,:)])\s+")


def split_text(text: str, is_too_long: Callable[[str], bool]) -> list[str]:
    """Return the text's sentences; of one that is too long the clauses, then halves by words.

    A single word that is too long stays as it is.
    """
    if not is_too_long(text):
        return [text]
    parts = _parts(text)
    if len(parts) == 1:
        return parts
    return [short for part in parts for short in split_text(part, is_too_long)]


def _parts(text: str) -> list[str]:
    for end in (_SENTENCE_END, _CLAUSE_END):
        parts = [part.strip() for part in end.split(text) if part.strip()]
        if len(parts) > 1:
            return parts
    words = text.split()
    half = (len(words) + 1) // 2
    return [" ".join(part) for part in (words[:half], words[half:]) if part]
