"""Galleries to test on, filled as a person with psql would: register_encoder, then COPY."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import ArrayLike, NDArray

Embedding = NDArray[np.float32]
FINGERPRINT = "0123456789abcdef" * 4


def connect(database_url: str) -> psycopg.Connection[Any]:
    """Connect as psql would, with our schema on the path; every statement is its own transaction."""
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute("set search_path = image_retrieval, public")
    return connection


def id_of(i: int) -> UUID:
    """Return the id of picture i; ids sort as their numbers do."""
    return UUID(int=i, version=None)


def literal(vector: Embedding | Sequence[float]) -> str:
    """Return a vector as pgvector reads it, every float32 exactly."""
    return "[" + ",".join(f"{x:.9g}" for x in vector) + "]"


def clustered(n: int, dimension: int, *, seed: int) -> Embedding:
    """Return n unit rows in 100 loose heaps of a few dimensions, which is how real embeddings lie."""
    world = np.random.default_rng(0)
    heaps, spread = world.standard_normal((100, 16)), world.standard_normal((16, dimension))
    random = np.random.default_rng(seed)
    rows = (heaps[random.integers(0, 100, n)] + 0.7 * random.standard_normal((n, 16))) @ spread
    rows += 0.3 * random.standard_normal((n, dimension))
    return unit_rows(rows)


def unit_rows(rows: ArrayLike) -> Embedding:
    """Return the rows, each at length 1."""
    given = np.asarray(rows, dtype=np.float64)
    return (given / np.linalg.norm(given, axis=1, keepdims=True)).astype(np.float32)


def register_encoder(
    connection: psycopg.Connection[Any],
    dimension: int,
    *,
    name: str = "small",
    fingerprint: str = FINGERPRINT,
) -> int:
    row = connection.execute(
        "select register_encoder(%s, '/models/' || %s, %s, %s)", (name, name, fingerprint, dimension)
    ).fetchone()
    assert row is not None
    return int(row[0])


def fill(
    connection: psycopg.Connection[Any],
    embeddings: Embedding,
    *,
    uri: Callable[[int], str] = lambda i: f"{i}.jpg",
    captions: Callable[[int], Sequence[str]] = lambda i: [f"picture {i}", f"the one called {i}"],
    collection: Callable[[int], str] = lambda _: "holiday",
    attributes: Callable[[int], dict[str, Any]] = lambda _: {},
) -> int:
    """Store picture i with row i of embeddings; return the id of the encoder."""
    encoder = register_encoder(connection, embeddings.shape[1])
    n = len(embeddings)
    connection.cursor().executemany(
        "insert into collections (name, root) values (%s, '/photos') on conflict do nothing",
        [(name,) for name in sorted({collection(i) for i in range(n)})],
    )
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(
            "copy images (id, collection, uri, width, height, format, byte_size, perceptual_hash, attributes)"
            " from stdin"
        ) as copy:
            for i in range(n):
                copy.write_row(
                    (id_of(i), collection(i), uri(i), 40, 30, "jpeg", 999, 0, json.dumps(attributes(i)))
                )
        with cursor.copy("copy captions (image_id, position, body) from stdin") as copy:
            for i in range(n):
                for position, body in enumerate(captions(i)):
                    copy.write_row((id_of(i), position, body))
        add_embeddings(cursor, encoder, embeddings)
    return encoder


def add_embeddings(cursor: psycopg.Cursor[Any], encoder: int, embeddings: Embedding) -> None:
    """Store row i of embeddings as this encoder's vector of picture i."""
    with cursor.copy("copy image_embeddings (encoder_id, image_id, embedding) from stdin") as copy:
        for i, embedding in enumerate(embeddings):
            copy.write_row((encoder, id_of(i), literal(embedding)))


def build_index(connection: psycopg.Connection[Any], encoder: int) -> None:
    connection.execute("select build_embedding_index(%s::smallint)", (encoder,))
    connection.execute("analyze images, captions, image_embeddings")
