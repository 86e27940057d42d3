"""How a question's vector is made of its terms' vectors: SQL expressions, which receipts show as they ran.

No name in them needs a search_path, and pgvector's types need no name at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import numpy as np
from psycopg.sql import SQL, Composable, Literal

from db.connection import Connection
from db.gallery import Embedding


@dataclass(frozen=True, slots=True)
class Part:
    """A term's vector, what it weighs, and the concepts taken out of it: float32 (d,), unit length."""

    embedding: Embedding
    weight: float = 1.0
    without: tuple[Embedding, ...] = ()


@dataclass(frozen=True, slots=True)
class Composition:
    """The terms, how they are combined, and pictures of the gallery to be more like, or less."""

    parts: Sequence[Part]
    balanced: bool = False
    more: tuple[UUID, ...] = ()
    less: tuple[UUID, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Say whether compose_query of the terms' vectors as they are is all there is to it."""
        changed = self.balanced or self.more or self.less or any(part.without for part in self.parts)
        return not changed


@dataclass(frozen=True, slots=True)
class Composed:
    """Each term's vector, concepts taken out, and the question's; float32 (d,)."""

    embeddings: list[Embedding]
    query: Embedding


async def compose(connection: Connection, composition: Composition) -> Composed:
    """Have the database make the vectors.

    Raises:
        psycopg.errors.DataException: the terms add up to nothing.
        psycopg.errors.NoDataFound: there is no such picture to be more or less like.
    """
    terms = SQL(", ").join([_term(part) + SQL("::vector") for part in composition.parts])
    statement = SQL("select array[{}], {}::vector").format(terms, query_expression(composition))
    cursor = await connection.execute(statement, binary=True)
    row = await cursor.fetchone()
    assert row is not None
    embeddings, query = row
    return Composed([_numbers(each) for each in embeddings], _numbers(query))


def query_expression(composition: Composition) -> Composable:
    """Return the question's vector as an expression."""
    parts = composition.parts
    query: Composable
    if len(parts) == 1 and parts[0].weight > 0:
        query = _term(parts[0])
    else:
        function: LiteralString = "balanced_query" if composition.balanced else "compose_query"
        query = _call(function, _terms(parts), _weights(parts))
    if not (composition.more or composition.less):
        return query
    return _call("feedback_query", query, Literal(list(composition.more)), Literal(list(composition.less)))


def _terms(parts: Sequence[Part]) -> Composable:
    if any(part.without for part in parts):
        return SQL("array[{}]").format(SQL(", ").join(map(_term, parts)))
    return _array([f'"{_written(part.embedding)}"' for part in parts])


def _term(part: Part) -> Composable:
    term: Composable = Literal(_written(part.embedding))
    for concept in part.without:
        term = _call("without", term, Literal(_written(concept)))
    return term


def _weights(parts: Sequence[Part]) -> Composable:
    return _array([repr(float(part.weight)) for part in parts])


def _array(written: Sequence[str]) -> Composable:
    return Literal("{" + ",".join(written) + "}")


def _written(embedding: Embedding) -> str:
    return f"[{','.join(embedding.astype(str))}]"


def _call(function: LiteralString, *arguments: Composable) -> Composable:
    inside = SQL(",\n    ").join(arguments)
    return SQL("image_retrieval.{}(\n    {}\n)").format(SQL(function), inside)


def _numbers(vector: object) -> Embedding:
    return np.asarray(vector.to_numpy(), np.float32)  # type: ignore[attr-defined]
