"""The SQL functions as a person with psql meets them: plain statements, values that mean what they say."""

import threading
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.conftest import _database
from tests.db.galleries import (
    FINGERPRINT,
    Embedding,
    add_embeddings,
    clustered,
    connect,
    fill,
    id_of,
    literal,
    register_encoder,
)

Psql = psycopg.Connection[Any]
SETTINGS = (
    "hnsw.ef_search", "hnsw.iterative_scan", "jit", "plan_cache_mode", "random_page_cost", "search_path"
)  # fmt: skip


def value(connection: Psql, statement: str, *arguments: object) -> Any:
    """Return the one value of the one row that a statement answers with."""
    row = connection.execute(statement, arguments).fetchone()
    assert row is not None
    return row[0]


def vector(text: str) -> Embedding:
    return np.array([float(x) for x in text.strip("[]").split(",")], dtype=np.float32)


def unit(row: Sequence[float] | Embedding) -> Embedding:
    row = np.asarray(row, dtype=np.float64)
    return (row / np.linalg.norm(row)).astype(np.float32)


@pytest.fixture(scope="module")
def shared(server: str, template: str) -> Any:
    """A migrated database for tests that only compute: hypothesis need not make one for each example."""
    for url in _database(server, template):
        with connect(url) as connection:
            yield connection


# hybrid_query


def unit_pairs() -> st.SearchStrategy[tuple[Embedding, Embedding]]:
    def pair(drawn: tuple[int, int]) -> tuple[Embedding, Embedding]:
        seed, dimension = drawn
        rows = np.random.default_rng(seed).standard_normal((2, dimension))
        return unit(rows[0]), unit(rows[1])

    return st.tuples(st.integers(0, 2**32), st.sampled_from([2, 3, 16, 512, 1152])).map(pair)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=unit_pairs(), alpha=st.floats(0, 1))
def test_hybrid_query_is_the_normalised_weighted_sum(
    shared: Psql, pair: tuple[Embedding, Embedding], alpha: float
) -> None:
    text, image = pair
    combined = alpha * text + (1 - alpha) * image
    if np.linalg.norm(combined) < 0.01:
        return
    found = vector(
        value(shared, "select hybrid_query(%s, %s, %s)::text", literal(text), literal(image), alpha)
    )
    np.testing.assert_allclose(found, combined / np.linalg.norm(combined), atol=2e-5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=unit_pairs(), alpha=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_hybrid_query_orders_as_the_weighted_distances_do(
    shared: Psql, pair: tuple[Embedding, Embedding], alpha: float, seed: int
) -> None:
    text, image = pair
    pictures = np.random.default_rng(seed).standard_normal((20, len(text)))
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    combined = vector(
        value(shared, "select hybrid_query(%s, %s, %s)::text", literal(text), literal(image), alpha)
    )
    weighted = alpha * (pictures @ text) + (1 - alpha) * (pictures @ image)
    scores = pictures @ combined
    ratio = float(np.linalg.norm(alpha * text + (1 - alpha) * image))
    np.testing.assert_allclose(scores * ratio, weighted, atol=2e-5)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("hybrid_query('[1,0]', '[0,1]')", unit([0.6, 0.4])),
        ("hybrid_query('[1,0]', '[0,1]', 1)", [1, 0]),
        ("hybrid_query('[1,0]', '[0,1]', 0)", [0, 1]),
        ("hybrid_query('[1,0]', null, 0.3)", [1, 0]),
        ("hybrid_query(null, '[0,1]', 0.3)", [0, 1]),
        ("hybrid_query('[3,4]', null)", [0.6, 0.8]),
        ("hybrid_query('[1,0]', '[1,0]', 0.5)", [1, 0]),
        ("hybrid_query('[1,0]', '[-1,0]', 1)", [1, 0]),
        ("compose_query(array['[1,0]', '[0,1]']::vector[], array[2, -1])", unit([2, -1])),
        ("compose_query(array['[1,0]']::vector[], array[-3])", [-1, 0]),
        ("compose_query(array['[1,0]', '[0,1]']::vector[], array[0.00001, 0.00001])", unit([1, 1])),
        ("compose_query(array['[1,0]', '[0,1]', '[1,0]']::vector[], '{1, 1, 0}')", unit([1, 1])),
        ("compose_query(array['[1,0]', '[0,1]']::vector[], '{1e-60, 1e-60}')", unit([1, 1])),
        ("compose_query(array['[1,0]', '[0,1]']::vector[], '{1e60, 1e-60}')", [1, 0]),
        ("hybrid_query('[1,0]', '[0,1]', 1e-60)", [0, 1]),
    ],
)
def test_weights_as_they_are_said(shared: Psql, call: str, expected: Sequence[float]) -> None:
    np.testing.assert_allclose(vector(value(shared, f"select {call}::text")), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("hybrid_query(null, null)", "both embeddings are null"),
        ("hybrid_query('[1,0]', '[0,1]', null)", "alpha is <NULL>"),
        ("hybrid_query('[1,0]', '[0,1]', 1.01)", "alpha is 1.01, it must be from 0 .* to 1"),
        ("hybrid_query('[1,0]', null, -0.1)", "alpha is -0.1"),
        ("hybrid_query('[1,0]', '[0,1]', 'nan')", "alpha is NaN"),
        ("hybrid_query('[1,0]', '[0,1,0]')", "the text embedding has 2 dimensions, the image embedding 3"),
        ("hybrid_query('[1,0]', '[-1,0]', 0.5)", "add up to nothing"),
        ("hybrid_query('[0,0]', null)", "add up to nothing"),
        ("compose_query('{}', '{}')", "0 embeddings and 0 weights"),
        ("compose_query(null, null)", "0 embeddings and 0 weights"),
        ("compose_query(array['[1,0]']::vector[], '{1,2}')", "1 embeddings and 2 weights"),
        ("compose_query(array['[1,0]', null]::vector[], '{1,2}')", "an embedding or a weight is null"),
        ("compose_query(array['[1,0]']::vector[], '{null}')", "an embedding or a weight is null"),
        ("compose_query(array['[1,0]', '[1,0]']::vector[], '{1,-1}')", "add up to nothing"),
        ("compose_query(array['[1,0]']::vector[], '{0}')", "add up to nothing"),
        (
            "compose_query(array['[1,0]', '[1,0,0]']::vector[], '{1,1}')",
            "different vector dimensions",
        ),
        ("compose_query(array['[1,0]']::vector[], '{nan}')", "NaN not allowed"),
    ],
)
def test_questions_without_a_direction_are_refused(shared: Psql, call: str, complaint: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=complaint):
        shared.execute(f"select {call}")


# search_images


def test_hits_are_ranked_with_their_captions_in_order(small: Psql, small_embeddings: Embedding) -> None:
    hits = small.execute("select * from search_images(%s, 200)", (literal(small_embeddings[7]),)).fetchall()
    assert [hit[0] for hit in hits] == list(range(1, 201))
    assert hits[0][1:3] == (id_of(7), "7.jpg")
    assert hits[0][4] == ["picture 7", "the one called 7"]
    expected = np.sort(small_embeddings @ small_embeddings[7])[::-1]
    np.testing.assert_allclose([hit[3] for hit in hits], expected, atol=2e-3)


def test_scores_are_one_minus_the_cosine_distance(small: Psql, small_embeddings: Embedding) -> None:
    query = literal(small_embeddings[9])
    rows = small.execute(
        "select score, 1 - (embedding <=> %s::vector::halfvec) from search_images(%s, 50)"
        " join gallery on id = image_id",
        (query, query),
    ).fetchall()
    assert len(rows) == 50
    assert all(score == pytest.approx(cosine, abs=1e-9) for score, cosine in rows)


def test_the_length_of_a_query_does_not_matter(small: Psql, small_embeddings: Embedding) -> None:
    hits = [
        small.execute(
            "select image_id from search_images(%s)", (literal(size * small_embeddings[3]),)
        ).fetchall()
        for size in (1, 1000, 0.01)
    ]
    assert hits[0] == hits[1] == hits[2]


@pytest.mark.parametrize("exact", [False, True])
def test_equal_pictures_come_in_the_order_of_their_ids(psql: Psql, exact: bool) -> None:
    fill(psql, np.repeat(clustered(2, 4, seed=3), 5, axis=0))
    psql.execute(
        "update image_embeddings set embedding = embedding where image_id = %s", (id_of(0),)
    )  # now last
    query = literal(clustered(1, 4, seed=3)[0])
    hits = psql.execute("select image_id from search_images(%s, 10, exact => %s)", (query, exact)).fetchall()
    assert [hit[0] for hit in hits] == [id_of(i) for i in range(10)]


def test_skip_leaves_out_the_first(small: Psql, small_embeddings: Embedding) -> None:
    query = literal(small_embeddings[0])
    whole = small.execute("select * from search_images(%s, 30)", (query,)).fetchall()
    assert small.execute("select * from search_images(%s, 10, skip => 20)", (query,)).fetchall() == whole[20:]
    assert small.execute("select * from search_images(%s, 10, skip => 195)", (query,)).rowcount == 5
    assert small.execute("select * from search_images(%s, 10, skip => 2000)", (query,)).rowcount == 0


def test_filters_keep_what_they_say(small: Psql, small_embeddings: Embedding) -> None:
    query = literal(small_embeddings[0])
    rows = small.execute(
        """select collection, attributes from search_images(%s, 200, 'most', '{"even": true}')"""
        " join gallery on id = image_id",
        (query,),
    ).fetchall()
    assert (
        len(rows)
        == small.execute(
            """select from images where collection = 'most' and attributes @> '{"even": true}'"""
        ).rowcount
    )
    assert {(collection, attributes["even"]) for collection, attributes in rows} == {("most", True)}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("null", "the query vector is null"),
        ("'[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]'", "the query vector is zero"),
        ("'[1,0]'", "the query has 2 dimensions, the active encoder's vectors have 16"),
        ("(select embedding from gallery limit 1), 0", "k is 0 and skip is 0; k must be at least 1"),
        ("(select embedding from gallery limit 1), -1", "k is -1"),
        ("(select embedding from gallery limit 1), null", "k is <NULL>"),
        ("(select embedding from gallery limit 1), skip => -1", "skip is -1"),
        ("(select embedding from gallery limit 1), skip => null", "skip is <NULL>"),
    ],
)
def test_questions_that_make_no_sense_are_refused(small: Psql, arguments: str, complaint: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=complaint):
        small.execute(f"select * from search_images({arguments})")


def test_an_empty_gallery_says_so(psql: Psql) -> None:
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="nothing has been indexed yet") as caught:
        psql.execute("select * from search_images('[1,0]')")
    assert caught.value.diag.message_hint == "image-retrieval index PATH"
    assert psql.execute("select * from gallery").fetchall() == []
    register_encoder(psql, 2)
    assert psql.execute("select * from search_images('[1,0]')").fetchall() == []


def test_settings_are_those_of_the_call_alone(small: Psql, small_embeddings: Embedding) -> None:
    query = literal(small_embeddings[0])
    with small.transaction():  # outside one, PostgreSQL itself would undo them
        small.execute("set local hnsw.ef_search = 33")
        small.execute("set local hnsw.iterative_scan = off")
        small.execute("set local jit = on")
        before = [value(small, f"show {name}") for name in SETTINGS]
        small.execute("select * from search_images(%s, 150)", (query,))
        small.execute("select * from similar_images(%s)", (id_of(3),))
        small.execute("select * from near_duplicates()")
        with pytest.raises(psycopg.DatabaseError), small.transaction():
            small.execute("select * from search_images('[1]')")
        assert [value(small, f"show {name}") for name in SETTINGS] == before
        assert before[0] == "33"


def test_settings_leave_a_fresh_session_as_it_was(small_gallery: str, small_embeddings: Embedding) -> None:
    """The first call loads pgvector, and with it the settings that the function sets."""
    with connect(small_gallery) as connection:
        connection.execute("select * from search_images(%s, 150)", (literal(small_embeddings[0]),))
        assert value(connection, "show hnsw.ef_search") == "40"
        assert value(connection, "show hnsw.iterative_scan") == "off"


def test_searches_work_where_nothing_may_be_written(small: Psql, small_embeddings: Embedding) -> None:
    small.execute("set default_transaction_read_only = on")  # as on a streaming replica
    query = literal(small_embeddings[0])
    assert small.execute("select * from search_images(%s)", (query,)).rowcount == 5
    assert small.execute("select * from similar_images(%s)", (id_of(0),)).rowcount == 5
    assert small.execute("select * from search_captions('picture')").rowcount == 5


def test_a_table_of_the_callers_does_not_get_in_the_way(small: Psql, small_embeddings: Embedding) -> None:
    small.execute("set search_path = public")
    small.execute("create temporary table gallery (id integer); create temporary table encoders (id integer)")
    small.execute("create temporary table captions (id integer); create temporary table images (id integer)")
    query = literal(small_embeddings[0])
    assert small.execute("select * from image_retrieval.search_images(%s)", (query,)).rowcount == 5
    assert small.execute("select * from image_retrieval.similar_images(%s)", (id_of(0),)).rowcount == 5
    assert small.execute("select * from image_retrieval.captions_of(%s)", (id_of(0),)).rowcount == 2
    assert small.execute("select * from image_retrieval.search_captions('picture')").rowcount == 5
    assert small.execute("select * from image_retrieval.near_duplicates(2)").rowcount > 0


# similar_images, captions_of, near_duplicates


def test_similar_images_leave_out_the_picture_itself(small: Psql, small_embeddings: Embedding) -> None:
    hits = small.execute("select rank, image_id, score from similar_images(%s, 10)", (id_of(5),)).fetchall()
    scores = small_embeddings @ small_embeddings[5]
    assert [hit[0] for hit in hits] == list(range(1, 11))
    assert [hit[1] for hit in hits] == [id_of(int(i)) for i in np.argsort(-scores)[1:11]]


def test_similar_images_take_filters(small: Psql) -> None:
    hits = small.execute(
        """select attributes from similar_images(%s, 8, 'most', '{"even": true}')"""
        " join images on id = image_id",
        (id_of(5),),
    ).fetchall()
    assert [hit[0]["even"] for hit in hits] == [True] * 8


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            "'00000000-0000-0000-0000-0000deadbeef'",
            "there is no picture 00000000-0000-0000-0000-0000deadbeef",
        ),
        ("null", "there is no picture <NULL>"),
        ("'00000000-0000-0000-0000-000000000001', 0", "k is 0"),
        ("'00000000-0000-0000-0000-000000000001', null", "k is <NULL>"),
    ],
)
def test_similar_images_refuse_what_is_not_there(small: Psql, arguments: str, complaint: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=complaint):
        small.execute(f"select * from similar_images({arguments})")


def test_captions_come_in_order(psql: Psql) -> None:
    fill(psql, clustered(3, 4, seed=1), captions=lambda i: [f"{i}-{j}" for j in range(12)] if i != 1 else [])
    rows = psql.execute("select * from captions_of(%s)", (id_of(2),)).fetchall()
    assert rows == [(j, None, f"2-{j}") for j in range(12)]
    assert psql.execute("select * from captions_of(%s)", (id_of(1),)).fetchall() == []
    (hit,) = psql.execute(
        "select captions from search_images((select embedding from gallery where id = %s), 1)", (id_of(1),)
    ).fetchall()
    assert hit == ([],)


def test_near_duplicates_are_found_once_a_pair(psql: Psql) -> None:
    rows = clustered(30, 16, seed=4)
    rows[20], rows[21] = rows[3], unit(rows[7] + 0.001 * rows[8])
    fill(psql, rows)
    found = psql.execute(
        "select image_id, duplicate_id, uri, duplicate_uri from near_duplicates(0.001)"
    ).fetchall()
    assert found == [(id_of(3), id_of(20), "3.jpg", "20.jpg"), (id_of(7), id_of(21), "7.jpg", "21.jpg")]
    assert psql.execute("select from near_duplicates(null)").rowcount == 0
    distances = [row[0] for row in psql.execute("select distance from near_duplicates(2)")]
    assert distances == sorted(distances)


# search_captions

VIETNAMESE = [
    "một con đường nhỏ",
    "hoa hướng dương",
    "đường phố Hà Nội",
    "duong pho",
    "Two dogs run to the sea",
]


@pytest.fixture
def captioned(psql: Psql) -> Psql:
    fill(psql, clustered(len(VIETNAMESE), 4, seed=1), captions=lambda i: [VIETNAMESE[i], f"bức ảnh {i}"])
    return psql


def captions_found(connection: Psql, words: str, k: int = 10) -> list[str]:
    rows = connection.execute("select rank, caption from search_captions(%s, %s)", (words, k)).fetchall()
    assert [rank for rank, _ in rows] == list(range(1, len(rows) + 1))
    return [caption for _, caption in rows]


@pytest.mark.parametrize(
    ("words", "first", "also"),
    [
        ("đường", {VIETNAMESE[0], VIETNAMESE[2]}, {VIETNAMESE[1], VIETNAMESE[3]}),
        ("dương", {VIETNAMESE[1]}, {VIETNAMESE[0], VIETNAMESE[2], VIETNAMESE[3]}),
        ("duong", {VIETNAMESE[3]}, {VIETNAMESE[0], VIETNAMESE[1], VIETNAMESE[2]}),
        ("ĐƯỜNG PHỐ", {VIETNAMESE[2]}, {VIETNAMESE[3]}),
        ("duong pho", {VIETNAMESE[3]}, {VIETNAMESE[2]}),
        ('"run to"', {VIETNAMESE[4]}, set()),
        ('"sea two"', set(), set()),  # the words of the two halves of the index do not join
        ("duong -pho", set(), {VIETNAMESE[0], VIETNAMESE[1]}),
        ("dogs or phố", {VIETNAMESE[2], VIETNAMESE[4]}, {VIETNAMESE[3]}),
        ("elephant", set(), set()),
        ("", set(), set()),
        ("& | ! <-> ' \\", set(), set()),
    ],
)
def test_accents_as_typed_come_first_and_may_be_left_out(
    captioned: Psql, words: str, first: set[str], also: set[str]
) -> None:
    found = captions_found(captioned, words)
    assert set(found[: len(first)]) == first
    assert set(found[len(first) :]) == also


def test_both_unicode_forms_of_an_accent_find_the_same(captioned: Psql) -> None:
    composed, decomposed = (unicodedata.normalize(form, "dương") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert captions_found(captioned, composed)[0] == VIETNAMESE[1]
    assert captions_found(captioned, composed) == captions_found(captioned, decomposed)
    captioned.execute("update captions set body = normalize(body, nfd)")
    for words in (composed, decomposed):
        found = [unicodedata.normalize("NFC", caption) for caption in captions_found(captioned, words)]
        assert found[0] == VIETNAMESE[1]
        assert set(found[1:]) == {VIETNAMESE[0], VIETNAMESE[2], VIETNAMESE[3]}


def test_a_picture_is_found_once_by_its_best_caption(captioned: Psql) -> None:
    assert len(captions_found(captioned, "bức")) == 5
    assert captions_found(captioned, "bức", k=2) == ["bức ảnh 0", "bức ảnh 1"]


@pytest.mark.parametrize(
    ("body", "folded"), [("Đường phố Hà Nội", "duong pho ha noi"), ("ÉCOLE naïve", "ecole naive"), ("", "")]
)
def test_accents_are_folded(shared: Psql, body: str, folded: str) -> None:
    for form in ("NFC", "NFD"):
        assert value(shared, "select fold_accents(%s)", unicodedata.normalize(form, body)) == folded


# what may be stored


@pytest.mark.parametrize(
    "vector_text",
    ["[0,0]", "[nan,0]", "[inf,0]", "[1,0,0]", "[1]", "[0.9,0]", "[1.1,0]", "[60000,60000]", "[]"],
)
def test_vectors_that_are_not_unit_vectors_never_get_in(psql: Psql, vector_text: str) -> None:
    encoder = fill(psql, np.eye(2, dtype=np.float32))
    psql.execute("delete from image_embeddings")
    for table in ("image_embeddings", f"image_embeddings_{encoder}"):
        with pytest.raises(psycopg.DatabaseError) as caught:
            psql.execute(f"insert into {table} values (%s, %s, %s)", (encoder, id_of(0), vector_text))
        assert isinstance(caught.value, errors.CheckViolation | errors.DataException)
    assert value(psql, "select count(*) from image_embeddings") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "insert into image_embeddings values (99, '00000000-0000-0000-0000-000000000000', '[1,0]')",
        "insert into image_embeddings values (1, '00000000-0000-0000-0000-0000deadbeef', '[1,0]')",
        "insert into captions values ('00000000-0000-0000-0000-0000deadbeef', 0, null, 'nobody')",
        "insert into captions values ('00000000-0000-0000-0000-000000000000', 5, null, '')",
        "insert into captions values ('00000000-0000-0000-0000-000000000000', -1, null, 'x')",
        "update images set width = 0",
        "update images set uri = ''",
        "update images set collection = 'unknown'",
        "update images set attributes = '[1]'",
        "update images set attributes = 'null'",
        "update encoders set fingerprint = 'short'",
        "update encoders set dimension = 4001",
        "update encoders set state = 'asleep'",
        "update encoders set state = 'active'",
        "delete from encoders where id = 1",
        "delete from collections where name = 'holiday'",
    ],
)
def test_rows_that_make_no_sense_never_get_in(psql: Psql, statement: str) -> None:
    fill(psql, np.eye(2, dtype=np.float32))
    register_encoder(psql, 3, name="second", fingerprint="cd" * 32)
    with pytest.raises(psycopg.IntegrityError):
        psql.execute(statement)


def test_deleting_a_picture_deletes_its_captions_and_vectors(small: Psql) -> None:
    second = register_encoder(small, 3, name="second", fingerprint="cd" * 32)
    small.execute("insert into image_embeddings select %s, id, '[1,0,0]' from images", (second,))
    small.execute("delete from images where id in (%s, %s)", (id_of(3), id_of(4)))
    assert value(small, "select count(*) from image_embeddings") == 2 * 198
    assert value(small, "select count(*) from captions") == 2 * 198
    assert value(small, "select count(*) from gallery") == 198


# encoders


def test_an_encoder_is_registered_once(psql: Psql) -> None:
    first = register_encoder(psql, 4)
    assert register_encoder(psql, 4, name="other name") == first
    second = register_encoder(psql, 8, fingerprint="ef" * 32)
    rows = psql.execute("select id, name, dimension, state from encoders order by id").fetchall()
    assert rows == [(first, "small", 4, "active"), (second, "small-efefefef", 8, "loading")]


def test_two_sessions_may_register_the_same_encoder_at_once(database_url: str) -> None:
    ids: list[int] = []
    start = threading.Barrier(6)

    def register(fingerprint: str) -> None:
        with connect(database_url) as connection:
            start.wait()
            ids.append(register_encoder(connection, 4, fingerprint=fingerprint))

    threads = [threading.Thread(target=register, args=(f,)) for f in [FINGERPRINT] * 3 + ["ab" * 32] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == [1, 1, 1, 2, 2, 2]
    with connect(database_url) as connection:
        assert value(connection, "select count(*) from encoders where state = 'active'") == 1


def test_an_encoder_is_registered_while_pictures_come_in(database_url: str) -> None:
    """The two lock images and image_embeddings in the same order, so they never wait for each other."""
    with connect(database_url) as writing, connect(database_url) as registering:
        encoder = fill(writing, clustered(2, 4, seed=1))
        registering.execute("set deadlock_timeout = '100ms'")
        thread = threading.Thread(
            target=register_encoder, args=(registering, 4), kwargs={"fingerprint": "ab" * 32}
        )
        with writing.transaction():
            writing.execute(
                "insert into images select %s, collection, uri, width, height, format, byte_size,"
                " null, perceptual_hash from images limit 1",
                (id_of(9),),
            )
            thread.start()
            wait_until_blocked(writing)
            writing.execute("insert into image_embeddings values (%s, %s, '[1,0,0,0]')", (encoder, id_of(9)))
        thread.join()
        assert value(writing, "select count(*) from encoders") == 2


def wait_until_blocked(connection: Psql) -> None:
    for _ in range(200):
        if value(connection, "select count(*) from pg_locks where not granted"):
            return
        connection.execute("select pg_sleep(0.02)")
    raise AssertionError("nobody waits for a lock")


def test_activating_another_encoder_switches_gallery_and_searches(
    small: Psql, small_embeddings: Embedding
) -> None:
    wider = clustered(200, 24, seed=9)
    second = register_encoder(small, 24, name="wider", fingerprint="ab" * 32)
    with small.cursor() as cursor:
        add_embeddings(cursor, second, wider)
    small.execute("create view mine as select id, embedding from gallery; create role reader")
    try:
        small.execute("grant select on gallery to reader")
        assert value(
            small, "select image_id from search_images(%s, 1)", literal(small_embeddings[8])
        ) == id_of(8)
        small.execute("select activate_encoder(%s::smallint)", (second,))
        assert value(small, "select image_id from search_images(%s, 1)", literal(wider[8])) == id_of(8)
        assert value(small, "select vector_dims(embedding) from mine limit 1") == 24
        assert value(small, "select has_table_privilege('reader', 'gallery', 'select')") is True
        assert small.execute("select state from encoders order by id").fetchall() == [("ready",), ("active",)]
        small.execute("select activate_encoder(1::smallint)")
        assert value(
            small, "select image_id from search_images(%s, 1)", literal(small_embeddings[8])
        ) == id_of(8)
        with pytest.raises(errors.NoDataFound, match="there is no encoder 77"):
            small.execute("select activate_encoder(77::smallint)")
    finally:
        small.execute("drop owned by reader; drop role reader")


def test_searches_go_on_while_encoders_are_switched(small_gallery: str, small_embeddings: Embedding) -> None:
    queries = {16: small_embeddings[3], 24: clustered(200, 24, seed=9)[3]}
    with connect(small_gallery) as connection:
        second = register_encoder(connection, 24, name="wider", fingerprint="ab" * 32)
        with connection.cursor() as cursor:
            add_embeddings(cursor, second, clustered(200, 24, seed=9))
    switched = threading.Event()
    answered: list[Any] = []
    strange: list[Exception] = []

    def ask() -> None:
        with connect(small_gallery) as connection:
            while not switched.is_set():
                for query in queries.values():
                    try:
                        answered.append(
                            value(connection, "select image_id from search_images(%s, 1)", literal(query))
                        )
                    except errors.DataException as error:
                        if "dimensions" not in str(error):
                            strange.append(error)
                    except psycopg.Error as error:
                        strange.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    with connect(small_gallery) as connection:
        for turn in range(60):
            connection.execute("select activate_encoder(%s::smallint)", (second if turn % 2 else 1,))
    switched.set()
    for thread in threads:
        thread.join()
    assert strange == []
    assert set(answered) == {id_of(3)}


def test_an_index_is_built_once(psql: Psql) -> None:
    encoder = fill(psql, clustered(50, 8, seed=1))
    assert value(psql, "select build_embedding_index(%s::smallint)", encoder) is True
    assert value(psql, "select build_embedding_index(%s::smallint)", encoder) is False
    options = value(
        psql, "select reloptions from pg_class where relname = %s", f"image_embeddings_{encoder}_hnsw"
    )
    assert options == ["m=16", "ef_construction=128"]
    with pytest.raises(psycopg.DatabaseError):
        psql.execute("select build_embedding_index(77::smallint)")


def test_names_with_quotes_are_only_names(psql: Psql) -> None:
    fill(psql, clustered(2, 4, seed=1), collection=lambda _: 'it\'s "quoted"; drop table images --')
    query = literal(clustered(1, 4, seed=1)[0])
    name = 'it\'s "quoted"; drop table images --'
    assert psql.execute("select * from search_images(%s, 5, %s)", (query, name)).rowcount == 2
    register_encoder(psql, 4, name=name, fingerprint="ab" * 32)
    assert value(psql, "select count(*) from encoders where name = %s", name) == 1


# rights


def test_one_grant_on_the_schema_is_enough_to_read(small_gallery: str, small_embeddings: Embedding) -> None:
    with connect(small_gallery) as owner:
        owner.execute("create role visitor login")
        try:
            owner.execute("grant usage on schema image_retrieval to visitor")
            owner.execute("grant select on all tables in schema image_retrieval to visitor")
            with connect(small_gallery.replace("postgres:@", "visitor:@")) as visitor:
                query = literal(small_embeddings[3])
                assert visitor.execute("select * from search_images(%s)", (query,)).rowcount == 5
                assert visitor.execute("select * from similar_images(%s)", (id_of(3),)).rowcount == 5
                assert visitor.execute("select * from captions_of(%s)", (id_of(3),)).rowcount == 2
                assert visitor.execute("select * from search_captions('picture')").rowcount == 5
                assert visitor.execute("select * from near_duplicates()").rowcount >= 0
                assert visitor.execute("select * from facets()").rowcount > 0
                assert visitor.execute("select * from gallery").rowcount == 200
                for statement in (
                    "delete from images",
                    "select activate_encoder(1::smallint)",
                    "update captions set body = 'x'",
                    "select create_gallery_view(null)",
                ):
                    with pytest.raises(errors.InsufficientPrivilege):
                        visitor.execute(statement)
                owner.execute(
                    "select activate_encoder(%s::smallint)",
                    (register_encoder(owner, 4, name="new", fingerprint="ab" * 32),),
                )
                assert visitor.execute("select * from search_images('[1,0,0,0]')").rowcount == 0
        finally:
            owner.execute("drop owned by visitor; drop role visitor")
