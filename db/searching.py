"""Searches: one function each for the SQL functions that rank pictures.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import numpy as np
from pgvector import Vector
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.connection import Connection
from db.gallery import Embedding

Sort = Literal["relevance", "newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of an answer; scores are cosine similarities: with the question, and with each of its terms.

    ef_search is how many candidates the HNSW index looked at; None: every picture that matches was compared.
    """

    rank: int
    id: UUID
    score: float
    term_scores: list[float]
    captions: list[str]
    collection: str
    uri: str
    width: int
    height: int
    format: str
    byte_size: int
    taken_at: datetime | None
    attributes: dict[str, Any]
    ef_search: int | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pictures may answer: of this collection, with attributes that contain these, taken in this span.

    Never the excluded ones, and none that scores less than min_score.
    """

    collection: str | None = None
    attributes: Mapping[str, Any] | None = None
    exclude: tuple[UUID, ...] = ()
    taken_from: datetime | None = None
    taken_to: datetime | None = None
    min_score: float | None = None


async def search_images(
    connection: Connection,
    embeddings: Sequence[Embedding],
    weights: Sequence[float] = (1.0,),
    *,
    k: int = 5,
    skip: int = 0,
    filters: Filters = Filters(),
    sort: Sort = "relevance",
    exact: bool = False,
) -> list[Hit]:
    """Return the k pictures nearest to compose_query(embeddings, weights), with each term's score.

    Embeddings are float32 (d,), unit length. Source: migrations/sql/search_images_v2.sql.
    """
    async with connection.cursor(row_factory=class_row(Hit), binary=True) as cursor:
        await cursor.execute(
            """
            select hits.rank, hits.image_id as id, hits.score,
                   array(
                       select 1 - (gallery.embedding <=> term::halfvec)
                       from unnest(%(terms)b::vector[]) with ordinality as terms (term, place)
                       order by place
                   ) as term_scores,
                   hits.captions, gallery.collection, hits.uri, gallery.width, gallery.height,
                   gallery.format, gallery.byte_size, gallery.taken_at, gallery.attributes, hits.ef_search
            from search_images(
                     case when %(alone)s then (%(terms)b::vector[])[1]
                          else compose_query(%(terms)b::vector[], %(weights)s::float8[])
                     end, %(k)s::integer,
                     %(collection)s::text, %(attributes)s::jsonb, %(skip)s::integer, %(exact)s,
                     %(exclude)s::uuid[], %(taken_from)s::timestamptz, %(taken_to)s::timestamptz,
                     %(min_score)s::float8, %(sort)s::text
                 ) as hits
            join gallery on gallery.id = hits.image_id
            order by hits.rank
            """,
            {
                "terms": [Vector(embedding) for embedding in embeddings],
                "weights": [float(weight) for weight in weights],
                "alone": len(weights) == 1 and weights[0] > 0,  # a tenth of a millisecond less
                "k": k,
                "skip": skip,
                "sort": sort,
                "exact": exact,
                **_filters(filters),
            },
        )
        return await cursor.fetchall()


async def similar_images(
    connection: Connection, image_id: UUID, *, k: int = 5, filters: Filters = Filters()
) -> list[Hit]:
    """Return the k pictures most like one of the gallery, without itself; filters: the first two count.

    Raises:
        psycopg.errors.NoDataFound: no such picture.
    """
    async with connection.cursor(row_factory=class_row(Hit), binary=True) as cursor:
        await cursor.execute(
            """
            select hits.rank, hits.image_id as id, hits.score, array[hits.score] as term_scores,
                   hits.captions, gallery.collection, hits.uri, gallery.width, gallery.height, gallery.format,
                   gallery.byte_size, gallery.taken_at, gallery.attributes, null::integer as ef_search
            from similar_images(%(id)s, %(k)s::integer, %(collection)s::text, %(attributes)s::jsonb) as hits
            join gallery on gallery.id = hits.image_id
            order by hits.rank
            """,
            {"id": image_id, "k": k, **_filters(filters)},
        )
        return await cursor.fetchall()


async def embeddings_of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Embedding]:
    """Return these pictures' vectors by the active encoder, float32 (d,); unknown ids are left out."""
    cursor = await connection.execute(
        "select id, embedding from gallery where id = any(%s)", (list(ids),), binary=True
    )
    return {id_: embedding.to_numpy().astype(np.float32) async for id_, embedding in cursor}


def _filters(filters: Filters) -> dict[str, Any]:
    attributes = None if filters.attributes is None else Jsonb(dict(filters.attributes))
    return {
        "collection": filters.collection,
        "attributes": attributes,
        "exclude": list(filters.exclude),
        "taken_from": filters.taken_from,
        "taken_to": filters.taken_to,
        "min_score": filters.min_score,
    }
