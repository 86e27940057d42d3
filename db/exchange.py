"""Everything that is known of pictures, a page at a time; and judgements brought in with them.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from db.connection import Connection
from db.gallery import Caption, Embedding


@dataclass(frozen=True, slots=True)
class Judged:
    """A question that somebody held this picture against."""

    question: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A picture with all that was said of it; embedding is the active encoder's, float32 (d,), or None."""

    id: UUID
    uri: str
    attributes: dict[str, Any]
    captions: list[Caption]
    judgements: list[Judged]
    embedding: Embedding | None


async def known_pictures(
    connection: Connection, collection: str, *, after: UUID | None, limit: int
) -> list[Known]:
    """Return the next pictures of a collection, by id, with everything that is known of them."""
    cursor = await connection.execute(
        """
        select images.id, images.uri, images.attributes,
               array(select body from captions where image_id = images.id order by position),
               array(select language from captions where image_id = images.id order by position),
               array(select question from judgements where image_id = images.id order by question),
               array(select fits from judgements where image_id = images.id order by question),
               gallery.embedding
        from images left join gallery on gallery.id = images.id
        where images.collection = %(collection)s
          and images.id > coalesce(%(after)s, '00000000-0000-0000-0000-000000000000'::uuid)
        order by images.id
        limit %(limit)s
        """,
        {"collection": collection, "after": after, "limit": limit},
    )
    return [
        Known(
            id_,
            uri,
            attributes,
            [Caption(body, language) for body, language in zip(bodies, languages, strict=True)],
            [Judged(question, fits) for question, fits in zip(questions, fit, strict=True)],
            None if embedding is None else embedding.to_numpy().astype(np.float32),
        )
        async for id_, uri, attributes, bodies, languages, questions, fit, embedding in cursor
    ]


async def store_judged(connection: Connection, image_id: UUID, judged: Sequence[Judged]) -> None:
    """Note these judgements of a picture; what was said here of the same questions stays."""
    await connection.execute(
        """
        insert into judgements (image_id, question, fits)
        select %s, question, fits from unnest(%s::text[], %s::boolean[]) as judged (question, fits)
        on conflict (image_id, question_hash) do nothing
        """,
        (image_id, [each.question for each in judged], [each.fits for each in judged]),
    )
