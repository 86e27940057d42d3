"""A question on one line: words, files and ids, added and subtracted: "2: a dog" + pool.jpg - fruit.

The arguments of a command line are its tokens: + and - stand alone, and words between them belong together.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from app.errors import QuestionError
from app.folder import SUFFIXES
from app.terms import MAX_WEIGHT, Term

SIGNS = {"+": 1.0, "-": -1.0}
_MULTIPLIED = re.compile(r"(?P<weight>\d+(?:\.\d*)?|\.\d+):(?!\d\d?(?!\w))\s*(?P<rest>.*)", re.DOTALL)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def read_expression(arguments: Sequence[str]) -> tuple[Term, ...]:
    """Return the terms of a question on one line, in its order.

    An operand is a file if one lies there, a picture of the gallery if it is an id, else words.

    Raises:
        QuestionError: a part, which is named, is empty, weighs too much, or looks like a file and is none.
    """
    return tuple(_term(sign, " ".join(operand)) for sign, operand in _signed(arguments))


def _signed(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each operand's sign and tokens."""
    sign, operand = "+", list[str]()
    for number, argument in enumerate(arguments):
        if argument not in SIGNS:
            operand.append(argument)
            continue
        if operand:
            yield sign, operand
        elif number:
            raise QuestionError(
                f"there is nothing between {sign} and {argument}, part {number + 1} of the question"
            )
        sign, operand = argument, []
    if not operand:
        raise QuestionError(f"there is nothing after the last {sign} of the question")
    yield sign, operand


def _term(sign: str, operand: str) -> Term:
    weight, rest = 1.0, operand.strip()
    if multiplied := _MULTIPLIED.fullmatch(rest):
        weight, rest = float(multiplied["weight"]), multiplied["rest"].strip()
    if not rest:
        raise QuestionError(f"there is nothing to ask in {operand!r}")
    if weight > MAX_WEIGHT:
        raise QuestionError(f"{operand!r}: it is multiplied by {weight:g}; the most is {MAX_WEIGHT:g}")
    weight *= SIGNS[sign]
    if _ADDRESS.match(rest):
        raise QuestionError(f"{rest!r} is an address, and nothing is fetched; download the picture first")
    try:
        return Term(image_id=UUID(rest), weight=weight)
    except ValueError:
        path = Path(rest)
    try:
        if path.is_file():
            return Term(picture=path.read_bytes(), picture_name=rest, weight=weight)
    except (OSError, ValueError) as error:  # no name that a file could have, or one that may not be read
        if isinstance(error, PermissionError):
            raise QuestionError(f"{rest!r} cannot be read: {error.strerror}") from error
    if path.suffix.lower() in SUFFIXES or rest.startswith(("./", "../", "/", "~/")):
        raise QuestionError(f"{rest!r} looks like a picture's file, but there is none; ask words by --text")
    return Term(text=rest, weight=weight)
