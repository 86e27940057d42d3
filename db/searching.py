"""Searches: one function each for the SQL functions that rank pictures.

Every connection comes from db.connection's pool, in autocommit.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import numpy as np
from pgvector import Vector
from psycopg.errors import NullValueNotAllowed, ObjectNotInPrerequisiteState
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.connection import Connection
from db.errors import EncoderMismatchError, NotNormalisedError
from db.gallery import Embedding

Sort = Literal["relevance", "newest", "oldest"]


def query_values(
    embeddings: Sequence[Embedding], weights: Sequence[float], query: Embedding | None
) -> dict[str, Any]:
    """Return the values that a statement makes a question's vector of, as search_images does."""
    return {
        "query": None if query is None else Vector(query),
        "terms": [Vector(embedding) for embedding in embeddings],
        "weights": [float(weight) for weight in weights],
        "alone": len(weights) == 1 and weights[0] > 0,  # a tenth of a millisecond less
    }


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of an answer; scores are cosine similarities: with the question, and with each of its terms.

    ef_search is how many candidates the HNSW index looked at; None: every picture that matches was compared.
    The last three are None unless the Ranking asks for them: the score less the picture's bias, the share of
    the question's words in its captions (None: it has none), and the pictures folded under it, best first.
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
    normalised: float | None
    caption_score: float | None
    stack: list[UUID] | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which pictures may answer: of this collection, with attributes that contain these, taken in this span.

    Never the excluded ones, none that scores less than min_score, and none of fewer pixels a side.
    """

    collection: str | None = None
    attributes: Mapping[str, Any] | None = None
    exclude: tuple[UUID, ...] = ()
    taken_from: datetime | None = None
    taken_to: datetime | None = None
    min_score: float | None = None
    min_width: int | None = None
    min_height: int | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """What counts beside nearness: unless it is asked for, nothing does.

    caption_weight, from 0 to 1, is that of the words of caption_query in the pictures' captions; normalise
    takes each picture's bias off its score; fold_duplicates is a cosine distance within which pictures are
    folded under the best of them. Source: migrations/sql/rank_candidates_v1.sql.
    """

    caption_query: str | None = None
    caption_weight: float = 0.0
    normalise: bool = False
    fold_duplicates: float | None = None


NEARNESS = Ranking()
"""Nothing else counts."""


async def search_images(
    connection: Connection,
    embeddings: Sequence[Embedding],
    weights: Sequence[float] = (1.0,),
    *,
    query: Embedding | None = None,
    k: int = 5,
    skip: int = 0,
    filters: Filters = Filters(),
    sort: Sort = "relevance",
    exact: bool = False,
    ranking: Ranking = NEARNESS,
    fingerprint: str | None = None,
) -> list[Hit]:
    """Return the k pictures nearest to a question, with each term's score.

    Embeddings are float32 (d,), unit length. The question is compose_query(embeddings, weights), unless it
    was composed in another way (db.composing): then it is given as query, float32 (d,). Given the fingerprint
    of the encoder that made them, the same statement holds it against the active encoder's.
    Source: migrations/sql/search_images_v4.sql.

    Raises:
        EncoderMismatchError: it is another.
        NotNormalisedError: the ranking is to normalise, and there are no biases.
    """
    async with (
        connection.cursor(row_factory=class_row(Hit), binary=True) as cursor,
        _refusals_named(fingerprint),
    ):
        await cursor.execute(
            """
            select hits.rank, hits.image_id as id, hits.score,
                   array(
                       select 1 - (gallery.embedding <=> term::halfvec)
                       from unnest(%(terms)b::vector[]) with ordinality as terms (term, place)
                       order by place
                   ) as term_scores,
                   hits.captions, gallery.collection, hits.uri, gallery.width, gallery.height,
                   gallery.format, gallery.byte_size, gallery.taken_at, gallery.attributes, hits.ef_search,
                   hits.normalised, hits.caption_score, hits.stack
            from search_images(
                     case when %(fingerprint)s::text <>
                               (select fingerprint from encoders where state = 'active')
                          then null  -- which it refuses
                          when %(query)b::vector is not null then %(query)b::vector
                          when %(alone)s then (%(terms)b::vector[])[1]
                          else compose_query(%(terms)b::vector[], %(weights)s::float8[])
                     end, %(k)s::integer,
                     %(collection)s::text, %(attributes)s::jsonb, %(skip)s::integer, %(exact)s,
                     %(exclude)s::uuid[], %(taken_from)s::timestamptz, %(taken_to)s::timestamptz,
                     %(min_score)s::float8, %(sort)s::text, %(min_width)s::integer, %(min_height)s::integer,
                     %(caption_query)s::text, %(caption_weight)s::float8, %(normalise)s,
                     %(fold_duplicates)s::float8
                 ) as hits
            join gallery on gallery.id = hits.image_id
            order by hits.rank
            """,
            {
                **query_values(embeddings, weights, query),
                "k": k,
                "skip": skip,
                "sort": sort,
                "exact": exact,
                "caption_query": ranking.caption_query,
                "caption_weight": ranking.caption_weight,
                "normalise": ranking.normalise,
                "fold_duplicates": ranking.fold_duplicates,
                "fingerprint": fingerprint,
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
                   gallery.byte_size, gallery.taken_at, gallery.attributes, null::integer as ef_search,
                   null::float8 as normalised, null::float8 as caption_score, null::uuid[] as stack
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


def encoder_changed(fingerprint: str) -> EncoderMismatchError:
    """Return the error that the gallery was given another encoder than the one that made a question."""
    return EncoderMismatchError(
        "the gallery has another encoder's vectors by now: the question was encoded with fingerprint"
        f" {fingerprint[:12]}, and vectors of two encoders cannot be compared; ask again"
    )


@asynccontextmanager
async def _refusals_named(fingerprint: str | None) -> AsyncIterator[None]:
    """Give what search_images refuses names of ours: another encoder's vectors, and no biases."""
    try:
        yield
    except NullValueNotAllowed as error:
        if fingerprint is None:
            raise
        raise encoder_changed(fingerprint) from error
    except ObjectNotInPrerequisiteState as error:
        if "biases" not in (error.diag.message_primary or ""):
            raise
        raise NotNormalisedError(
            "there are no biases yet to normalise scores by; work them out with: image-retrieval normalise"
        ) from error


def _filters(filters: Filters) -> dict[str, Any]:
    attributes = None if filters.attributes is None else Jsonb(dict(filters.attributes))
    return {
        "collection": filters.collection,
        "attributes": attributes,
        "exclude": list(filters.exclude),
        "taken_from": filters.taken_from,
        "taken_to": filters.taken_to,
        "min_score": filters.min_score,
        "min_width": filters.min_width,
        "min_height": filters.min_height,
    }
