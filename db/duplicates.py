"""Pictures that nearly repeat each other, in the whole gallery or in a collection."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from db.connection import Connection

MAX_DISTANCE = 0.02
"""Cosine distance within which pictures nearly repeat each other, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Stacked:
    """A picture of a stack; place 1 is the one to keep, and distance (cosine) is to it."""

    stack: int
    place: int
    image_id: UUID
    collection: str
    uri: str
    distance: float


async def duplicate_stacks(
    connection: Connection,
    *,
    max_distance: float = MAX_DISTANCE,
    collection: str | None = None,
    most_stacks: int | None = None,
) -> list[Stacked]:
    """Return the stacks, the largest first, each with the picture to keep first.

    Source: migrations/sql/duplicate_stacks_v1.sql.
    """
    async with connection.cursor(row_factory=class_row(Stacked)) as cursor:
        await cursor.execute(
            """
            select stacks.stack, stacks.place, stacks.image_id, images.collection, stacks.uri, stacks.distance
            from duplicate_stacks(%(max_distance)s, %(collection)s) as stacks
            join images on images.id = stacks.image_id
            where %(most_stacks)s::integer is null or stacks.stack <= %(most_stacks)s
            order by stacks.stack, stacks.place
            """,
            {"max_distance": max_distance, "collection": collection, "most_stacks": most_stacks},
        )
        return await cursor.fetchall()
