"""A long text in parts: sentences, and of what is longer than an encoder reads, whatever it does read.

Encoders learn from captions, a sentence each, so that several sentences are better read one by one even
where all of them fit (docs/quality.md).
"""

import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"(?<=[.!?…;])\s+|\n+")
_CLAUSE_END = re.compile(r"(?<=[,:)])\s+")

CAPTION_CHARS = 200
"""Hardly a caption is longer."""


def split_text(text: str, is_too_long: Callable[[str], bool]) -> list[str]:
    """Return a long text's sentences; of one that is too long to be read the clauses, then halves by words.

    A single word that is too long stays as it is.
    """
    sentences = _split(text, _SENTENCE_END)
    if len(text) > CAPTION_CHARS and len(sentences) > 1:
        return [short for sentence in sentences for short in split_text(sentence, is_too_long)]
    if not is_too_long(text):
        return [text]
    parts = _parts(text)
    if len(parts) == 1:
        return parts
    return [short for part in parts for short in split_text(part, is_too_long)]


def _parts(text: str) -> list[str]:
    for end in (_SENTENCE_END, _CLAUSE_END):
        if len(parts := _split(text, end)) > 1:
            return parts
    words = text.split()
    half = (len(words) + 1) // 2
    return [" ".join(part) for part in (words[:half], words[half:]) if part]


def _split(text: str, end: re.Pattern[str]) -> list[str]:
    return [part.strip() for part in end.split(text) if part.strip()]
