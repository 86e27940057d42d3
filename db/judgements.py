"""Judgements: which pictures fit a question, and which do not, as people said."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from db.connection import Connection


@dataclass(frozen=True, slots=True)
class Judgement:
    """A picture, where it is, and a question that it fits."""

    collection: str
    uri: str
    question: str


async def store_judgements(
    connection: Connection, question: str, *, more: Sequence[UUID], less: Sequence[UUID]
) -> None:
    """Note that pictures fit a question (more) or do not (less); what was said of them before is forgotten.

    Raises:
        psycopg.errors.ForeignKeyViolation: a picture is not in the gallery; none of them is noted then.
    """
    judged = dict.fromkeys(more, True) | dict.fromkeys(less, False)
    await connection.execute(
        """
        insert into judgements (image_id, question, fits)
        select image_id, %s, fits from unnest(%s::uuid[], %s::boolean[]) as judged (image_id, fits)
        on conflict (image_id, question_hash) do update set fits = excluded.fits, judged_at = now()
        """,
        (question, list(judged), list(judged.values())),
    )


async def fitting(connection: Connection, collection: str | None = None) -> list[Judgement]:
    """Return what fits, of one collection or of all, picture after picture."""
    async with connection.cursor(row_factory=class_row(Judgement)) as cursor:
        await cursor.execute(
            """
            select collection, uri, question
            from judgements
            join images on images.id = judgements.image_id
            where fits and (%(collection)s::text is null or collection = %(collection)s)
            order by collection, uri, judged_at, question
            """,
            {"collection": collection},
        )
        return await cursor.fetchall()
