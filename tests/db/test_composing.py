"""Questions with something taken out, balanced, and moved by feedback: the SQL functions against NumPy."""

from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors

from db.composing import Composition, Part, compose
from db.connection import make_pool
from db.judgements import fitting, store_judgements
from tests.db.galleries import Embedding, clustered, id_of, literal, unit_rows

Psql = psycopg.Connection[Any]
HALF = 2e-3
"""How far vectors may be apart that are made of the gallery's, which are stored in half precision."""


@pytest.fixture(scope="module")
def questions() -> Embedding:
    return clustered(50, 16, seed=7)


def value(connection: Psql, statement: str, *arguments: object) -> Any:
    row = connection.execute(statement, arguments).fetchone()
    assert row is not None
    return row[0]


def vector(connection: Psql, statement: str, *arguments: object) -> Embedding:
    written = value(connection, f"select ({statement})::text", *arguments)
    return np.array([float(number) for number in written.strip("[]").split(",")], np.float32)


def near(found: Embedding, wanted: Embedding, atol: float = 2e-5) -> bool:
    return bool(np.allclose(found, unit_rows([wanted])[0], atol=atol))


# without


def test_a_concept_is_taken_out_of_a_question(psql: Psql) -> None:
    assert vector(psql, "without('[1,0]', '[0,2]', 0.75)") == pytest.approx([0.8, -0.6])
    query, concept = unit_rows([[3, 4, 1], [1, 2, 0]])
    for strength in (0, 0.4, 1):
        found = vector(psql, "without(%s, %s, %s)", literal(query), literal(5 * concept), strength)
        assert near(found, query - strength * concept)
    assert near(vector(psql, "without(%s, %s)", literal(query), literal(concept)), query - 0.4 * concept)


@pytest.mark.parametrize(
    ("statement", "error", "said"),
    [
        ("without(null, '[1,0]')", errors.NullValueNotAllowed, "the query, the concept or the strength"),
        ("without('[1,0]', '[1,0]', 11)", errors.InvalidParameterValue, "strength is 11"),
        ("without('[1,0]', '[2,0]', 1)", errors.DataException, "add up to nothing"),
        ("without('[1,0]', '[1,0,0]')", errors.DataException, "different vector dimensions"),
        ("feedback_query(null)", errors.NullValueNotAllowed, "the query vector is null"),
        ("feedback_query('[1,0]', less_weight => -1)", errors.InvalidParameterValue, "the weights are 0."),
        ("balanced_query(array['[1,0]']::vector[], '{1,2}')", errors.InvalidParameterValue, "1 embeddings"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_named(
    psql: Psql, statement: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said.replace("(", r"\(")):
        psql.execute(f"select {statement}")


# balanced_query


def test_each_term_has_the_say_that_its_weight_tells(
    small: Psql, small_embeddings: Embedding, questions: Embedding
) -> None:
    centre = small_embeddings.mean(axis=0)
    words, picture = unit_rows([questions[0] + 20 * centre, questions[1]])
    spreads = [(small_embeddings @ (each - centre)).std(ddof=1) for each in (words, picture)]
    terms = [literal(3 * words), literal(picture)]
    for alpha in (0.3, 0.6):
        found = vector(small, "balanced_query(%s::vector[], %s)", terms, [alpha, 1 - alpha])
        wanted = alpha * (words - centre) / spreads[0] + (1 - alpha) * (picture - centre) / spreads[1]
        assert near(found, wanted, atol=HALF)


def test_of_one_term_balance_changes_nothing(small: Psql, questions: Embedding) -> None:
    found = vector(small, "balanced_query(%s::vector[], '{0.4}')", [literal(questions[0])])
    assert near(found, questions[0])


# feedback_query


def test_feedback_moves_a_question_as_rocchio_says(
    small: Psql, small_embeddings: Embedding, questions: Embedding
) -> None:
    centre = small_embeddings.mean(axis=0)
    query = questions[3]

    def spread(direction: Embedding) -> float:
        return float((small_embeddings @ direction).std(ddof=1))

    liked = small_embeddings[[4, 5]].mean(axis=0) - centre
    disliked = small_embeddings[9] - centre
    found = vector(
        small, "feedback_query(%s, %s, %s, 0.7, 0.2)", literal(query), [id_of(4), id_of(5)], [id_of(9)]
    )
    wanted = query + spread(query) * (0.7 * liked / spread(liked) - 0.2 * disliked / spread(disliked))
    assert near(found, wanted, atol=HALF)
    assert found @ small_embeddings[4] > query @ small_embeddings[4]


def test_without_feedback_a_question_stays_to_the_bit(small: Psql, questions: Embedding) -> None:
    for arguments in ("", ", '{}', '{}'", ", null, null"):
        found = value(small, f"select feedback_query(%s{arguments})::text", literal(questions[3]))
        assert found == value(small, "select %s::vector::text", literal(questions[3]))


def test_feedback_on_a_picture_that_is_not_there_is_refused(small: Psql) -> None:
    with pytest.raises(errors.NoDataFound, match="there is no picture"):
        small.execute("select feedback_query(%s, %s)", (literal([1] + [0] * 15), [id_of(4), id_of(4000)]))


# composing


async def test_what_is_composed_is_what_numpy_says(
    small_gallery: str, small_embeddings: Embedding, questions: Embedding
) -> None:
    man, hat, picture = questions[:3]
    bare = unit_rows([man - 0.4 * hat])[0]
    async with make_pool(small_gallery) as pool, pool.connection() as connection:
        composed = await compose(
            connection, Composition([Part(man, 0.6, without=(hat,)), Part(picture, 0.4)])
        )
    assert near(composed.embeddings[0], bare)
    assert composed.embeddings[1].tolist() == picture.tolist()
    assert near(composed.query, 0.6 * bare + 0.4 * picture)


# judgements


async def test_the_last_judgement_counts(small_gallery: str) -> None:
    long = "a dog " * 2000
    async with make_pool(small_gallery) as pool, pool.connection() as connection:
        await store_judgements(connection, "a dog", more=[id_of(1), id_of(2)], less=[id_of(3)])
        await store_judgements(connection, "a dog", more=[id_of(3)], less=[id_of(1)])
        await store_judgements(connection, long, more=[id_of(1)], less=[])
        found = {(pair.uri, pair.question) for pair in await fitting(connection)}
        assert found == {("2.jpg", "a dog"), ("3.jpg", "a dog"), ("1.jpg", long)}
        assert len(await fitting(connection, "nowhere")) == 0
        with pytest.raises(errors.ForeignKeyViolation):
            await store_judgements(connection, "a dog", more=[id_of(5), id_of(5000)], less=[])
        assert len(await fitting(connection)) == 3
        await connection.execute("delete from images where id = %s", (id_of(1),))
        assert len(await fitting(connection)) == 2
