"""How much a request may hold, beyond the sizes that are settings: what costs far more memory than bytes.

A body of 20 MB is refused or fits; but 20 MB of "[],[],[]" are half a gigabyte of Python, and a thousand
brackets in a row go deeper than a parser may.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.errors import QuestionError, TooMuchError

MAX_PARTS = 256
"""Parts of a multipart form; fields of the other kind of form."""
MAX_JSON_VALUES = 200_000
"""Commas, objects and lists in a JSON body; a picture in it has none."""
MAX_ATTRIBUTE_BYTES = 16_384
MAX_ATTRIBUTE_DEPTH = 8
MAX_ATTRIBUTE_VALUES = 1000
MAX_NAME_CHARS = 1000
"""Of a collection that is asked for."""
WRITTEN_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as JSON writes it; a backslash before it would be part of a text that only looks so."""


def check_json(body: bytes) -> None:
    """Raise TooMuchError, before it is parsed, if JSON holds more values than any question has."""
    if body.count(b",") + body.count(b"{") + body.count(b"[") > MAX_JSON_VALUES:
        raise TooMuchError(f"the JSON body holds more than {MAX_JSON_VALUES:,} values")


def check_fields(body: bytes) -> None:
    """Raise TooMuchError, before it is parsed, if an urlencoded form has more fields than any of ours."""
    if body.count(b"&") >= MAX_PARTS:
        raise TooMuchError(f"the form has more than {MAX_PARTS} fields")


def check_attributes(attributes: Mapping[str, Any] | None, name: str = "attributes") -> None:
    """Raise QuestionError if attributes, a JSON object, are too deep, too many, too long, or hold a NUL."""
    values, level = 0, list((attributes or {}).values())
    depth = 1
    while level:
        values += len(level)
        if depth > MAX_ATTRIBUTE_DEPTH:
            raise QuestionError(f"{name} are nested more than {MAX_ATTRIBUTE_DEPTH} deep")
        if values > MAX_ATTRIBUTE_VALUES:
            raise QuestionError(f"{name} hold more than {MAX_ATTRIBUTE_VALUES:,} values")
        level = [inner for value in level for inner in _within(value)]
        depth += 1
    written = msgspec.json.encode(attributes)
    if len(written) > MAX_ATTRIBUTE_BYTES:
        raise QuestionError(f"{name} are {len(written):,} bytes of JSON; the most is {MAX_ATTRIBUTE_BYTES:,}")
    if WRITTEN_NUL.search(written):
        raise QuestionError(f"{name} hold a NUL character, which PostgreSQL cannot store")


def _within(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
