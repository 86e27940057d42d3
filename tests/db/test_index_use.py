"""At a real number of rows: the HNSW index answers, with k rows whenever k match, and the nearest ones."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.db.galleries import Embedding, clustered, id_of, literal

HNSW = "image_embeddings_1_hnsw"
FILTERS: Mapping[str, tuple[str | None, dict[str, Any] | None]] = {
    "no filter": (None, None),
    "attribute of 100 %": (None, {"keeps": ["100 %"]}),
    "attribute of 50 %": (None, {"even": True}),
    "attribute of 10 %": (None, {"keeps": ["10 %"]}),
    "attribute of 1 %": (None, {"keeps": ["1 %"]}),
    "attribute of 0.1 %": (None, {"keeps": ["0.1 %"]}),
    "attribute of 0 %": (None, {"keeps": ["nothing"]}),
    "collection of 89 %": ("most", None),
    "collection of 10 %": ("10 %", None),
    "collection of 1 %": ("1 %", None),
    "collection of 0.1 %": ("0.1 %", None),
    "collection of 0 %": ("none", None),
    "collection and attribute": ("most", {"even": True}),
}
SEARCH = "select image_id, score from search_images(%s::vector, %s, %s, %s)"


@pytest.fixture(scope="module")
def queries() -> Embedding:
    return clustered(20, 64, seed=2)


def scans(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """Return how often the HNSW index was scanned, and how often all vectors were read, until now."""
    connection.execute("select pg_stat_force_next_flush()")
    row = connection.execute(
        "select pg_stat_user_indexes.idx_scan, seq_scan"
        " from pg_stat_user_indexes join pg_stat_user_tables using (relid) where indexrelname = %s",
        (HNSW,),
    ).fetchone()
    assert row is not None
    return row


def plan(connection: psycopg.Connection[Any], statement: str, *arguments: object) -> str:
    rows = connection.execute("explain (costs off) " + statement, arguments).fetchall()
    return re.sub(r"'\[[^]]*\]'", "'[…]'", "\n".join(row[0] for row in rows))


def recall(
    connection: psycopg.Connection[Any],
    queries: Embedding,
    k: int,
    collection: str | None = None,
    attributes: dict[str, Any] | None = None,
) -> float:
    """Search by index and exactly; return the mean share of the true k nearest that the index found.

    Fails unless as many rows come back as match, best first, each once.
    """
    arguments = (k, collection, None if attributes is None else Jsonb(attributes))
    matches = connection.execute(
        "select count(*) from gallery where (%s::text is null or collection = %s)"
        " and (%s::jsonb is null or attributes @> %s)",
        (collection, collection, arguments[2], arguments[2]),
    ).fetchone()
    assert matches is not None
    shares = []
    for query in queries:
        found = connection.execute(SEARCH, (literal(query), *arguments)).fetchall()
        exact = connection.execute(
            SEARCH.replace("%s)", "%s, exact => true)"), (literal(query), *arguments)
        ).fetchall()
        assert len(found) == len(exact) == min(k, matches[0])
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        ids = {id_ for id_, _ in found}
        assert len(ids) == len(found)
        shares.append(len(ids & {id_ for id_, _ in exact}) / len(exact) if exact else 1.0)
    return float(np.mean(shares))


@pytest.mark.parametrize(
    "order",
    ["embedding <=> %s::vector::halfvec", "embedding <=> hybrid_query(%s::vector, %s::vector, 0.3)::halfvec"],
)
def test_the_index_serves_the_view(large: psycopg.Connection[Any], queries: Embedding, order: str) -> None:
    arguments = [literal(query) for query in queries[: order.count("%s")]]
    assert f"Index Scan using {HNSW}" in plan(
        large, f"select id from gallery order by {order} limit 5", *arguments
    )


def test_the_index_serves_a_plain_vector_literal(large: psycopg.Connection[Any], queries: Embedding) -> None:
    statement = f"select uri from gallery order by embedding <=> '{literal(queries[0])}' limit 5"
    assert f"Index Scan using {HNSW}" in plan(large, statement)
    before = scans(large)
    large.execute(statement)
    assert scans(large) == (before[0] + 1, before[1])


@pytest.mark.parametrize(
    "statement",
    [
        "select search_images(%(a)s::vector)",
        "select search_images(hybrid_query(%(a)s::vector, %(b)s::vector, 0.6), 10)",
        "select search_images(compose_query(array[%(a)s, %(b)s]::vector[], '{2,-1}'), 10)",
        "select search_images(%(a)s::vector, 10, collection => 'most')",
        """select search_images(%(a)s::vector, 10, attributes => '{"even": true}')""",
        """select search_images(%(a)s::vector, 30, attributes => '{"keeps": ["10 %%"]}')""",  # in two steps
        "select search_images(%(a)s::vector, 10, skip => 20)",
        "select search_images(%(a)s::vector, 10, exclude => '{00000000-0000-0000-0000-000000000007}')",
        "select search_images(%(a)s::vector, 10, min_score => 0.9)",
        "select search_images(%(a)s::vector, 10, sort => 'newest')",
        "select similar_images('00000000-0000-0000-0000-000000000007', 10)",
    ],
)
def test_the_index_alone_serves_the_functions(
    large_readonly: psycopg.Connection[Any], queries: Embedding, statement: str
) -> None:
    before = scans(large_readonly)
    large_readonly.execute(statement, {"a": literal(queries[0]), "b": literal(queries[1])}).fetchall()
    index, table = scans(large_readonly)
    assert index > before[0]
    assert table == before[1]


@pytest.mark.parametrize(
    "statement",
    [
        "select search_images(%s::vector, exact => true)",
        "select search_images(%s::vector, 10, skip => 1000)",  # further than ef_search reaches
    ],
)
def test_the_index_stays_out_of_exact_answers(
    large_readonly: psycopg.Connection[Any], queries: Embedding, statement: str
) -> None:
    before, _ = scans(large_readonly)
    large_readonly.execute(statement, (literal(queries[0]),)).fetchall()
    assert scans(large_readonly)[0] == before


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_k_rows_come_back_whenever_k_match(
    large_readonly: psycopg.Connection[Any], queries: Embedding, k: int, name: str
) -> None:
    assert recall(large_readonly, queries, k, *FILTERS[name]) >= 0.99


def test_the_hundredth_hit_is_as_good_as_the_tenth(
    large_readonly: psycopg.Connection[Any], queries: Embedding
) -> None:
    assert recall(large_readonly, queries, 100) >= 0.999


@pytest.mark.parametrize("name", FILTERS)
def test_a_thousand_rows_come_back_whenever_they_match(
    large_readonly: psycopg.Connection[Any], queries: Embedding, name: str
) -> None:
    assert recall(large_readonly, queries[:5], 1000, *FILTERS[name]) >= 0.99


@pytest.mark.parametrize("share", [0.3, 0.75])
def test_deleted_pictures_cost_neither_rows_nor_recall(
    large: psycopg.Connection[Any], queries: Embedding, share: float
) -> None:
    large.execute("alter table image_embeddings_1 set (autovacuum_enabled = off)")
    large.execute(
        "delete from images where ('x' || right(id::text, 8))::bit(32)::integer %% 97 < 97 * %s", (share,)
    )
    for k in (1, 10, 100):
        for name in ("no filter", "attribute of 50 %", "attribute of 10 %", "collection of 1 %"):
            assert recall(large, queries, k, *FILTERS[name]) >= 0.99, (k, name)


def test_a_filter_that_keeps_only_far_pictures_gives_all_it_should(
    large: psycopg.Connection[Any], queries: Embedding
) -> None:
    """None of them is near; a longer walk through the index would find some, but not the nearest."""
    far = large.execute(
        """update images set attributes = '{"far": true}' where id in"""
        " (select id from gallery order by (embedding <=> %s::vector::halfvec) + 0 desc limit 3000)",
        (literal(queries[0]),),
    )
    assert far.rowcount == 3000
    large.execute("set hnsw.iterative_scan = relaxed_order")  # the caller's; the function's own counts
    large.execute("vacuum analyze images")  # now the planner knows that these are not few
    assert recall(large, queries[:1], 10, None, {"far": True}) == 1


@pytest.mark.slow
def test_replaced_vectors_cost_neither_rows_nor_recall(
    large: psycopg.Connection[Any], queries: Embedding
) -> None:
    large.execute("alter table image_embeddings_1 set (autovacuum_enabled = off)")
    large.execute(
        "update image_embeddings set embedding = l2_normalize(embedding + array_fill(0.2, array[64])::halfvec"
        " * (select embedding from image_embeddings where image_id = %s))",
        (id_of(0),),
    )
    assert recall(large, queries, 10) >= 0.99


def test_pages_follow_each_other(large_readonly: psycopg.Connection[Any], queries: Embedding) -> None:
    whole = large_readonly.execute(SEARCH, (literal(queries[0]), 200, None, None)).fetchall()
    pages = [
        row
        for skip in range(0, 200, 50)
        for row in large_readonly.execute(
            "select image_id, score from search_images(%s::vector, 50, skip => %s)",
            (literal(queries[0]), skip),
        ).fetchall()
    ]
    assert len({id_ for id_, _ in pages}) >= 198  # a page further down is looked for more widely
    assert len({id_ for id_, _ in pages} & {id_ for id_, _ in whole}) >= 198


def found(
    connection: psycopg.Connection[Any], query: Embedding, options: str, *arguments: object
) -> set[Any]:
    rows = connection.execute(
        f"select image_id from search_images(%s::vector, {options})", (literal(query), *arguments)
    ).fetchall()
    return {row[0] for row in rows}


@pytest.mark.parametrize("gone", [10, 150, 300])
def test_leaving_out_the_nearest_costs_no_recall(
    large_readonly: psycopg.Connection[Any], queries: Embedding, gone: int
) -> None:
    shares = []
    for query in queries:
        nearest = list(found(large_readonly, query, f"{gone}, exact => true"))
        approximate = found(large_readonly, query, "20, exclude => %s", nearest)
        exact = found(large_readonly, query, "20, exclude => %s, exact => true", nearest)
        assert len(approximate) == 20
        shares.append(len(approximate & exact) / 20)
    assert np.mean(shares) >= 0.99


@pytest.mark.parametrize("days", [1, 30, 300])
def test_a_span_of_time_costs_neither_rows_nor_recall(
    large: psycopg.Connection[Any], queries: Embedding, days: int
) -> None:
    large.execute(
        "update images set taken_at = '2024-01-01'::timestamptz"
        " + ('x' || right(id::text, 8))::bit(32)::integer * 7919 % 1000 * interval '1 day'"
    )
    large.execute("vacuum analyze images")
    options = (
        f"10, taken_from => '2024-03-01', taken_to => '2024-03-01'::timestamptz + interval '{days} days'"
    )
    shares = []
    for query in queries:
        approximate, exact = (found(large, query, options + end) for end in ("", ", exact => true"))
        assert len(approximate) == len(exact) == 10
        shares.append(len(approximate & exact) / 10)
    assert np.mean(shares) >= 0.99
