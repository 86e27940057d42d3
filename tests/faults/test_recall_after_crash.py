"""After a crash the index answers as before: the same recall, and nothing of what was not committed."""

import random
import threading
from contextlib import suppress

import psycopg
import pytest

from tests.db.galleries import Embedding, build_index, clustered, connect, fill, id_of, literal
from tests.faults import LONG
from tests.faults.postgres import Postgres

PICTURES, ARRIVING, DIMENSION, K = 6000, 2000, 64, 10
SEARCH = "select image_id, score, ef_search from search_images(%s::vector, %s, exact => %s)"


def answers(
    connection: psycopg.Connection[tuple[object, ...]], queries: Embedding, *, exact: bool
) -> list[list[tuple[object, ...]]]:
    return [connection.execute(SEARCH, (literal(query), K, exact)).fetchall() for query in queries]


def recall(found: list[list[tuple[object, ...]]], exact: list[list[tuple[object, ...]]]) -> float:
    hits = sum(
        len({row[0] for row in one} & {row[0] for row in other})
        for one, other in zip(found, exact, strict=True)
    )
    return hits / sum(map(len, exact))


@pytest.mark.parametrize("crashes", [1, pytest.param(10, marks=LONG)])
def test_recall_and_answers_are_the_same_after_a_crash_in_the_midst_of_writing(
    crashes: int, postgres: Postgres, chance: random.Random
) -> None:
    queries = clustered(100, DIMENSION, seed=2)
    with postgres.database() as url:
        with connect(url) as connection:
            encoder = fill(connection, clustered(PICTURES, DIMENSION, seed=1))
            build_index(connection, encoder)
            found, exact = (answers(connection, queries, exact=way) for way in (False, True))
        assert all(rows[0][2] is not None for rows in found)  # the index was asked
        assert recall(found, exact) >= 0.99
        for _ in range(crashes):
            crash_while_writing(postgres, url, encoder, chance)
            with connect(url) as connection:
                assert answers(connection, queries, exact=True) == exact
                after = answers(connection, queries, exact=False)
                assert recall(after, exact) >= 0.99
                assert abs(recall(after, exact) - recall(found, exact)) <= 0.001
                check_index(connection)


def crash_while_writing(postgres: Postgres, url: str, encoder: int, chance: random.Random) -> None:
    """kill -9 the server at some moment of a transaction that adds pictures to the index."""
    begun = threading.Event()

    def write() -> None:
        with suppress(psycopg.OperationalError), connect(url) as connection, connection.transaction():
            arriving = clustered(ARRIVING, DIMENSION, seed=3)
            for number, embedding in enumerate(arriving, start=PICTURES):
                connection.execute(
                    "insert into images (id, collection, uri, width, height, format, byte_size,"
                    " perceptual_hash) values (%s, 'holiday', %s, 40, 30, 'jpeg', 999, 0)",
                    (id_of(number), f"{number}.jpg"),
                )
                connection.execute(
                    "insert into image_embeddings (encoder_id, image_id, embedding) values (%s, %s, %s)",
                    (encoder, id_of(number), literal(embedding)),
                )
                if number > PICTURES + 20:
                    begun.set()
            connection.execute("select pg_sleep(60)")  # it never comes to commit

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert begun.wait(30)
    threading.Event().wait(chance.uniform(0, 1))
    postgres.kill()
    postgres.start()
    writer.join(60)


def check_index(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Assert that the index is there, and valid, and the rows are those that were committed."""
    assert connection.execute(
        "select indisvalid from pg_index where indexrelid = 'image_embeddings_1_hnsw'::regclass"
    ).fetchone() == (True,)
    for table in ("images", "image_embeddings"):
        assert connection.execute(f"select count(*) from {table}").fetchone() == (PICTURES,)
