"""search_images' further arguments, and facets, as a person with psql meets them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import alembic_config
from tests.db.galleries import Embedding, clustered, connect, fill, id_of, literal

Psql = psycopg.Connection[Any]
START = datetime(2024, 1, 1, tzinfo=UTC)


def ids(connection: Psql, query: Embedding, options: str = "", *arguments: object) -> list[int]:
    """Return the numbers of the pictures found."""
    rows = connection.execute(
        f"select image_id from search_images(%s{options})", (literal(query), *arguments)
    ).fetchall()
    return [row[0].int for row in rows]


@pytest.fixture
def dated(small: Psql) -> Psql:
    """The small gallery; picture i was taken on day i % 50, and every tenth at no known time."""
    small.cursor().executemany(
        "update images set taken_at = %s where id = %s",
        [(None if i % 10 == 0 else START + timedelta(days=i % 50), id_of(i)) for i in range(200)],
    )
    return small


@pytest.mark.parametrize("exact", [False, True])
def test_excluded_pictures_never_answer_and_others_take_their_places(
    small: Psql, small_embeddings: Embedding, exact: bool
) -> None:
    query = small_embeddings[7]
    everything = ids(small, query, ", 200")
    gone = everything[:30]
    found = ids(small, query, ", 20, exclude => %s, exact => %s", [id_of(i) for i in gone], exact)
    assert found == everything[30:50]
    assert ids(small, query, ", 200, exclude => %s", [id_of(i) for i in everything]) == []
    assert ids(small, query, ", 5, exclude => %s::uuid[]", [None]) == everything[:5]
    assert ids(small, query, ", 5, exclude => '{}'") == everything[:5]


@pytest.mark.parametrize("exact", [False, True])
def test_a_span_of_time_includes_its_beginning_and_not_its_end(
    dated: Psql, small_embeddings: Embedding, exact: bool
) -> None:
    def days(options: str, *arguments: object) -> set[int]:
        return {
            i % 50 for i in ids(dated, small_embeddings[7], f", 200, exact => {exact}{options}", *arguments)
        }

    tenth, twentieth = START + timedelta(days=11), START + timedelta(days=19)
    dated_days = {day for day in range(50) if day % 10}
    assert days(", taken_from => %s, taken_to => %s", tenth, twentieth) == set(range(11, 19))
    assert days(", taken_from => %s", tenth) == {day for day in dated_days if day >= 11}
    assert days(", taken_to => %s", tenth) == {day for day in dated_days if day < 11}
    assert days(", taken_from => %s, taken_to => %s", tenth, tenth) == set()
    assert days("") == set(range(50))


@pytest.mark.parametrize("exact", [False, True])
def test_min_score_cuts_what_scores_less(small: Psql, small_embeddings: Embedding, exact: bool) -> None:
    query = literal(small_embeddings[7])
    scores = [
        row[0] for row in small.execute("select score from search_images(%s, 200)", (query,)).fetchall()
    ]
    for least, count in ((scores[19], 20), (0.0, sum(score >= 0 for score in scores)), (-1.0, 200), (1.1, 0)):
        rows = small.execute(
            "select score from search_images(%s, 200, exact => %s, min_score => %s)", (query, exact, least)
        ).fetchall()
        assert [row[0] for row in rows] == scores[:count]
    second = small.execute(
        "select rank, score from search_images(%s, 5, skip => 17, min_score => %s)", (query, scores[19])
    ).fetchall()
    assert second == [(18, scores[17]), (19, scores[18]), (20, scores[19])]


@pytest.mark.parametrize("exact", [False, True])
def test_sorting_by_date_keeps_the_strong_ones_and_puts_the_undated_last(psql: Psql, exact: bool) -> None:
    embeddings = clustered(300, 8, seed=3)
    fill(psql, embeddings)
    psql.cursor().executemany(
        "update images set taken_at = %s where id = %s",
        [(START + timedelta(hours=i * 37 % 300), id_of(i)) for i in range(300) if i % 3],
    )
    query = embeddings[0]
    strong = ids(psql, query, f", 200, exact => {exact}")
    dated = sorted((i for i in strong if i % 3), key=lambda i: i * 37 % 300)
    undated = [i for i in strong if i % 3 == 0]  # these in the order of their scores
    assert ids(psql, query, f", 300, exact => {exact}, sort => 'oldest'") == dated + undated
    assert ids(psql, query, f", 300, exact => {exact}, sort => 'newest'") == dated[::-1] + undated
    assert ids(psql, query, f", 300, exact => {exact}, sort => 'relevance'")[:200] == strong
    pages = [
        i for skip in range(0, 240, 40) for i in ids(psql, query, f", 40, skip => {skip}, sort => 'newest'")
    ]
    assert pages == dated[::-1] + undated
    ranks = psql.execute(
        "select rank from search_images(%s, 5, skip => 3, sort => 'newest')", (literal(query),)
    ).fetchall()
    assert [rank for (rank,) in ranks] == [4, 5, 6, 7, 8]


def test_min_score_and_dates_together(dated: Psql, small_embeddings: Embedding) -> None:
    query = literal(small_embeddings[7])
    rows = dated.execute(
        "select score, taken_at from search_images(%s, 200, min_score => 0.2, sort => 'newest',"
        " taken_from => %s) join images on id = image_id order by rank",
        (query, START),
    ).fetchall()
    assert rows
    assert all(score >= 0.2 for score, _ in rows)
    assert [taken for _, taken in rows] == sorted((taken for _, taken in rows), reverse=True)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("sort => 'random'", "sort is random; it is relevance, newest or oldest"),
        ("sort => null", "sort is <NULL>"),
        ("min_score => 'nan'", "min_score is NaN"),
        ("taken_from => '2024-02-01', taken_to => '2024-01-01'", "taken_from .* is after taken_to"),
    ],
)
def test_options_that_make_no_sense_are_refused(small: Psql, options: str, complaint: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=complaint):
        small.execute(f"select * from search_images((select embedding from gallery limit 1), {options})")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_index_and_comparison_agree_whatever_is_asked(
    dated: Psql, small_embeddings: Embedding, data: st.DataObject
) -> None:
    """In a small gallery the index sees everything, so both must be what numpy says."""
    query = small_embeddings[data.draw(st.integers(0, 199))]
    excluded = data.draw(st.sets(st.integers(0, 210), max_size=40))
    first, last = data.draw(st.none() | st.integers(0, 50)), data.draw(st.none() | st.integers(0, 50))
    if first is not None and last is not None and first > last:
        first, last = last, first
    least = data.draw(st.none() | st.floats(-1, 1))
    even = data.draw(st.booleans())
    k, skip = data.draw(st.integers(1, 60)), data.draw(st.integers(0, 60))
    scores = (small_embeddings.astype(np.float16) @ query.astype(np.float16)).astype(float)
    fits = [
        i
        for i in range(200)
        if i not in excluded
        and (not even or i % 2 == 0)
        and (first is None or (i % 10 and i % 50 >= first))
        and (last is None or (i % 10 and i % 50 < last))
    ]
    answers = [
        dated.execute(
            "select image_id, score from search_images(%s, %s, skip => %s, exact => %s, attributes => %s,"
            " exclude => %s, taken_from => %s, taken_to => %s, min_score => %s)",
            (
                literal(query), k, skip, exact, '{"even": true}' if even else None,
                [id_of(i) for i in excluded],
                None if first is None else START + timedelta(days=first),
                None if last is None else START + timedelta(days=last), least,
            ),
        ).fetchall()
        for exact in (False, True)
    ]  # fmt: skip
    assert answers[0] == answers[1]
    found = [row[0].int for row in answers[1]]
    sure = [i for i in fits if least is None or scores[i] >= least + 0.01]
    perhaps = [i for i in fits if least is None or scores[i] >= least - 0.01]
    assert set(found) <= set(perhaps)
    assert min(k, max(0, len(sure) - skip)) <= len(found) <= min(k, max(0, len(perhaps) - skip))
    np.testing.assert_allclose([row[1] for row in answers[1]], scores[found], atol=5e-3)


# how it was found


def candidates(connection: Psql, query: Embedding, options: str = "") -> set[int | None]:
    rows = connection.execute(
        f"select ef_search from search_images(%s{options})", (literal(query),)
    ).fetchall()
    return {row[0] for row in rows}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", 64),
        (", 10", 64),
        (", 100", 400),
        (", 10, skip => 90", 400),
        (", 10, collection => 'most'", 400),
        (", 10, exclude => (select array_agg(id) from (select id from images limit 90) as ninety)", 400),
        (", 10, sort => 'newest'", 800),
        (", 300", 1000),
        (", exact => true", None),
        (", 10, skip => 1000", None),
        (", 10, collection => '0.1 %%'", None),
        (", 10, min_score => 0.999", 64),
    ],
)
def test_a_hit_says_how_many_candidates_the_index_looked_at(
    large_readonly: Psql, large_embeddings: Embedding, options: str, expected: int | None
) -> None:
    assert candidates(large_readonly, large_embeddings[5], options) == {expected}


def test_without_an_index_the_answer_says_that_all_were_compared(
    small: Psql, small_embeddings: Embedding
) -> None:
    assert candidates(small, small_embeddings[5]) == {64}
    small.execute("drop index image_embeddings_1_hnsw")
    assert candidates(small, small_embeddings[5]) == {None}


def test_an_index_that_was_not_asked_is_not_claimed(small: Psql, small_embeddings: Embedding) -> None:
    """The planner may find another way cheaper; the answer then is exact, and says so."""
    small.execute("analyze")
    with small.transaction():
        small.execute("set local enable_indexscan = off")
        assert candidates(small, small_embeddings[5]) == {None}
    assert candidates(small, small_embeddings[5]) == {64}


def test_several_searches_in_one_transaction_each_say_their_own(
    small: Psql, small_embeddings: Embedding
) -> None:
    with small.transaction():
        for _ in range(3):
            assert candidates(small, small_embeddings[5]) == {64}
            assert candidates(small, small_embeddings[5], ", exact => true") == {None}


# going up, and down again


def test_a_view_on_search_images_goes_on_through_the_migrations(
    small_gallery: str, small_embeddings: Embedding
) -> None:
    config = alembic_config(small_gallery)
    command.downgrade(config, "0002")
    with connect(small_gallery) as connection:
        connection.execute(
            "create view public.like_seven as select s.uri, s.score, g.width from search_images("
            "(select embedding from gallery where uri = '7.jpg'), 5, collection => 'most') as s"
            " join gallery as g on g.id = s.image_id"
        )
        before = connection.execute("select * from public.like_seven").fetchall()
        assert len(before) == 5
        command.upgrade(config, "head")
        assert connection.execute("select * from public.like_seven").fetchall() == before
        assert len(ids(connection, small_embeddings[7], ", 5, sort => 'newest'")) == 5
        command.downgrade(config, "0002")
        assert connection.execute("select * from public.like_seven").fetchall() == before
        assert connection.execute("select to_regproc('search_images_v1')").fetchone() == (None,)
        command.upgrade(config, "head")
        assert connection.execute("select * from public.like_seven").fetchall() == before


# facets


def facets(connection: Psql, arguments: str = "") -> list[tuple[str, Any, int]]:
    return connection.execute(f"select key, value, count from facets({arguments})").fetchall()


def test_facets_count_the_values_of_each_attribute(psql: Psql) -> None:
    said: list[dict[str, Any]] = [
        {"year": 2023, "tags": ["sea", "dog"], "camera": "X1"},
        {"year": 2024, "tags": ["sea", "sea"], "seen": True},
        {"year": 2024, "place": {"city": "Hà Nội"}, "note": None},
        {"year": "2024", "tags": []},
    ]
    fill(psql, clustered(4, 4, seed=1), attributes=lambda i: said[i], collection=lambda i: "ab"[i > 1])
    assert facets(psql) == [
        ("year", 2024, 2),
        ("year", "2024", 1),
        ("year", 2023, 1),
        ("tags", ["sea"], 2),
        ("tags", ["dog"], 1),
        ("camera", "X1", 1),
        ("seen", True, 1),
    ]
    assert facets(psql, "'b'") == [("year", "2024", 1), ("year", 2024, 1)]
    assert facets(psql, "'none'") == []
    assert facets(psql, "null, 1, 2") == [("year", 2024, 2), ("year", "2024", 1)]
    query = literal(clustered(1, 4, seed=1)[0])
    for key, value, count in facets(psql):
        found = psql.execute(
            "select from search_images(%s, 10, attributes => jsonb_build_object(%s::text, %s::jsonb))",
            (query, key, psycopg.types.json.Jsonb(value)),
        )
        assert found.rowcount == count, (key, value)


def test_facets_keep_to_the_most_frequent(psql: Psql) -> None:
    fill(
        psql,
        clustered(60, 4, seed=1),
        attributes=lambda i: {"id": i, **{f"key {n}": i % 2 for n in range(30) if i < 40}, "half": i % 2},
    )
    found = facets(psql)
    keys = list(dict.fromkeys(key for key, _, _ in found))
    assert len(keys) == 20
    assert keys[:2] == ["half", "id"]
    assert sum(key == "id" for key, _, _ in found) == 20
