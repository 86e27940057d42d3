"""The SQL that an answer gives as its receipt, run by a client that knows nothing of ours."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.composing import Composition, Part, compose
from db.connection import make_pool
from db.receipt import receipt_sql
from db.searching import Filters, Ranking, search_images
from tests.db.galleries import Embedding, clustered, connect, id_of

NASTY = [
    "it's",
    'a "quoted" name',
    "back\\slash",
    "-- no comment",
    "%s %(x)s",
    "$$",
    "/* */",
    "é\n;drop table images",
]


@pytest.fixture(scope="module")
def questions() -> Embedding:
    return clustered(50, 16, seed=7)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_receipt_gives_the_same_rows_and_scores(
    small_gallery: str, questions: Embedding, data: st.DataObject
) -> None:
    terms = data.draw(st.lists(st.integers(0, 49), min_size=1, max_size=5, unique=True))
    weights = [data.draw(st.sampled_from([1.0, -0.4, 0.1, 1e-5, 10.0, 1 / 3])) for _ in terms]
    moment = st.none() | st.datetimes(datetime(2023, 12, 1), datetime(2024, 3, 1), timezones=st.just(UTC))
    first, last = data.draw(moment), data.draw(moment)
    if first and last and first > last:
        first, last = last, first
    filters = Filters(
        collection=data.draw(st.sampled_from([None, "most", *NASTY])),
        attributes=data.draw(st.sampled_from([None, {"even": True}, {}, {name: name for name in NASTY}])),
        exclude=tuple(id_of(i) for i in data.draw(st.sets(st.integers(0, 199), max_size=5))),
        taken_from=first,
        taken_to=last,
        min_score=data.draw(st.none() | st.floats(-1, 1)),
        min_width=data.draw(st.sampled_from([None, 1, 40, 41])),
    )
    ranking = Ranking(
        caption_query=data.draw(st.sampled_from([None, "picture 17", *NASTY])),
        caption_weight=data.draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])),
        normalise=data.draw(st.booleans()),
        fold_duplicates=data.draw(st.sampled_from([None, None, 0.0, 0.1])),
    )
    k, skip = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 30))
    negated = [
        tuple(questions[i] for i in data.draw(st.lists(st.integers(0, 49), max_size=2))) for _ in terms
    ]
    sort, exact = data.draw(st.sampled_from(["relevance", "newest", "oldest"])), data.draw(st.booleans())
    parts = [
        Part(questions[i], weight, without=without)
        for i, weight, without in zip(terms, weights, negated, strict=True)
    ]
    composition = Composition(parts)
    asked = {"k": k, "skip": skip, "filters": filters, "sort": sort, "exact": exact, "ranking": ranking}
    with connect(small_gallery) as connection:
        connection.execute(
            "update images set taken_at = %s where right(id::text, 1) in ('1', '2', '3')",
            (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=len(terms)),),
        )
        connection.execute(
            "insert into image_biases select 1, image_id, random() / 2, '' from image_embeddings"
            " on conflict do nothing"
        )
    async with make_pool(small_gallery) as pool, pool.connection() as connection:
        composed = await compose(connection, composition)
        embeddings = [questions[i] for i in terms] if composition.is_plain else composed.embeddings
        query = None if composition.is_plain else composed.query
        hits = await search_images(connection, embeddings, weights, query=query, **asked)
    with psycopg.connect(small_gallery) as plain:  # its search_path is PostgreSQL's own
        rows = plain.execute(receipt_sql(composition, **asked)).fetchall()  # type: ignore[arg-type]
    assert rows == [(hit.rank, hit.id, hit.uri, hit.score) for hit in hits]


def test_a_receipt_leaves_out_what_was_not_asked(questions: Embedding) -> None:
    sql = receipt_sql(Composition([Part(questions[0])]), k=5, filters=Filters())
    assert sql.startswith("select rank, image_id, uri, score\nfrom image_retrieval.search_images(\n    '[")
    assert sql.endswith("]',\n    5\n)\norder by rank;")
    whole = receipt_sql(
        Composition([Part(questions[0]), Part(questions[1], -0.5)]), k=5, skip=10, sort="newest", exact=True,
        filters=Filters("it's", {"a": 1}, (UUID(int=1),), datetime(2024, 1, 1, tzinfo=UTC), None, 0.2),
    )  # fmt: skip
    for part in (
        "compose_query(", "'{1.0,-0.5}'", "collection => 'it''s'", "skip => 10", "sort => 'newest'",
        "exact => true", "min_score => 0.2", "exclude => ", "taken_from => '2024-01-01",
    ):  # fmt: skip
        assert part in whole
    assert "taken_to" not in whole
