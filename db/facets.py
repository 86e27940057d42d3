"""What a gallery can be narrowed to: its attributes and their values, its dates, how many pictures."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from db.connection import Connection


@dataclass(frozen=True, slots=True)
class Facets:
    """Of a collection, or of all: values are by key, each with its count, the most frequent first."""

    count: int
    taken_from: datetime | None
    taken_to: datetime | None
    attributes: dict[str, list[tuple[Any, int]]] = field(default_factory=dict)


async def read_facets(connection: Connection, collection: str | None = None) -> Facets:
    """Return what pictures can be narrowed to. Source: migrations/sql/facets_v1.sql."""
    cursor = await connection.execute(
        """
        select count(*), min(taken_at), max(taken_at)
        from images
        where %(collection)s::text is null or collection = %(collection)s
        """,
        {"collection": collection},
    )
    row = await cursor.fetchone()
    assert row is not None
    facets = Facets(*row)
    cursor = await connection.execute("select key, value, count from facets(%s)", (collection,))
    async for key, value, count in cursor:
        facets.attributes.setdefault(key, []).append((value, count))
    return facets
