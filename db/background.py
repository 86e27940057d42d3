"""How near random pictures are to a question: what its hits' scores are held against."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from db.connection import Connection
from db.gallery import Embedding
from db.searching import query_values


@dataclass(frozen=True, slots=True)
class Background:
    """How near random pictures are to a question: cosine similarities, ascending; their mean and deviation.

    Whose best hit scores less than chance has found nothing; None: nobody has worked it out yet.
    Source: migrations/sql/background_scores_v1.sql.
    """

    mean: float | None
    deviation: float | None
    chance: float | None
    scores: list[float]

    def percentile(self, score: float) -> float | None:
        """Return how many of a hundred random pictures score less; SQL's percentile_of."""
        return 100 * bisect_right(self.scores, score) / len(self.scores) if self.scores else None


async def background_scores(
    connection: Connection,
    embeddings: Sequence[Embedding],
    weights: Sequence[float] = (1.0,),
    *,
    query: Embedding | None = None,
    collection: str | None = None,
) -> Background:
    """Return how near random pictures, of a collection or of all, are to a question of search_images."""
    async with connection.cursor(row_factory=class_row(Background), binary=True) as cursor:
        await cursor.execute(
            """
            select mean, deviation, chance, scores
            from background_scores(
                case when %(query)b::vector is not null then %(query)b::vector
                     when %(alone)s then (%(terms)b::vector[])[1]
                     else compose_query(%(terms)b::vector[], %(weights)s::float8[])
                end, %(collection)s::text
            )
            """,
            {**query_values(embeddings, weights, query), "collection": collection},
        )
        background = await cursor.fetchone()
    assert background is not None
    return background
