"""What the program relies on from db.gallery, against a real PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors

from db.connection import Connection, Pool, make_pool
from db.embedding_index import build_embedding_index, has_embedding_index, index_build_progress
from db.errors import CollectionConflictError, EncoderMismatchError
from db.gallery import (
    Caption,
    Embedding,
    ImageRow,
    active_encoder,
    captions_of,
    find_image,
    known_images,
    list_collections,
    list_encoders,
)
from db.searching import Filters, embeddings_of, search_images, similar_images
from db.storing import (
    claim_collection,
    claim_encoder,
    delete_images,
    image_id,
    replace_captions,
    store_images,
)
from tests.db.galleries import clustered

FINGERPRINT = "ab" * 32


def picture(name: str, collection: str = "holiday", **attributes: Any) -> ImageRow:
    return ImageRow(
        id=image_id(collection, name.encode()),
        collection=collection,
        uri=f"{name}.jpg",
        width=40,
        height=30,
        format="jpeg",
        byte_size=999,
        taken_at=None,
        perceptual_hash=-5,
        attributes=attributes,
    )


def said(*bodies: str) -> list[Caption]:
    return [Caption(body, "en") for body in bodies]


async def claim(connection: Connection, dimension: int = 16, fingerprint: str = FINGERPRINT) -> int:
    await claim_collection(connection, "holiday", root="/photos")
    return await claim_encoder(
        connection,
        name="small",
        checkpoint="/models/small",
        fingerprint=fingerprint,
        dimension=dimension,
        preprocessing={"size": 32},
    )


async def store(connection: Connection, names: Sequence[str], embeddings: Embedding) -> list[Any]:
    encoder = await claim(connection, embeddings.shape[1])
    pictures = [picture(name) for name in names]
    return await store_images(connection, encoder, pictures, [said(f"{name}!") for name in names], embeddings)


async def count(connection: Connection, table: str) -> int:
    statements = {
        "images": "select count(*) from images",
        "captions": "select count(*) from captions",
        "image_embeddings": "select count(*) from image_embeddings",
    }
    row = await (await connection.execute(statements[table])).fetchone()
    return int(row[0])


def test_an_id_is_the_content_and_the_collection() -> None:
    assert image_id("a", b"x") == image_id("a", b"x")
    assert len({image_id("a", b"x"), image_id("b", b"x"), image_id("a", b"y"), image_id("ax", b"")}) == 4
    assert image_id("a", b"x").version == 8


async def test_what_is_stored_comes_back(connection: Connection) -> None:
    embeddings = clustered(3, 16, seed=1)
    encoder = await claim(connection)
    rows = [picture("a", colour="red"), picture("b"), picture("c")]
    captions = [[Caption("ein Hund", "de"), Caption("a dog")], [], said("x")]
    assert set(await store_images(connection, encoder, rows, captions, embeddings)) == {
        row.id for row in rows
    }
    assert await find_image(connection, rows[0].id) == (rows[0], "/photos")
    assert await captions_of(connection, rows[0].id) == captions[0]
    stored = (await embeddings_of(connection, [rows[2].id]))[rows[2].id]
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, embeddings[2], atol=1e-3)
    assert await find_image(connection, image_id("holiday", b"other")) is None
    assert await embeddings_of(connection, [image_id("holiday", b"other")]) == {}


async def test_storing_again_changes_nothing(connection: Connection) -> None:
    embeddings = clustered(4, 16, seed=1)
    assert len(await store(connection, "abc", embeddings[:3])) == 3
    assert await store(connection, "abc", embeddings[:3]) == []
    (new,) = await store(connection, "bcd", embeddings[1:])
    assert new == picture("d").id
    for table in ("images", "captions", "image_embeddings"):
        assert await count(connection, table) == 4


async def test_pictures_that_are_there_keep_their_captions(connection: Connection) -> None:
    embeddings = clustered(2, 16, seed=1)
    encoder = await claim(connection)
    await store_images(connection, encoder, [picture("a")], [said("first")], embeddings[:1])
    await store_images(
        connection, encoder, [picture("a"), picture("b")], [said("second", "third"), said("new")], embeddings
    )
    assert await captions_of(connection, picture("a").id) == said("first")
    assert await captions_of(connection, picture("b").id) == said("new")


async def test_captions_are_replaced(connection: Connection) -> None:
    await store(connection, "abc", clustered(3, 16, seed=1))
    a, b, c = (picture(name).id for name in "abc")
    gone = image_id("holiday", b"gone")
    await replace_captions(connection, {b: said("one", "two"), a: [], gone: said("nobody")})
    assert await captions_of(connection, a) == []
    assert await captions_of(connection, b) == said("one", "two")
    assert await captions_of(connection, c) == said("c!")


async def test_pictures_without_vectors_are_completed(connection: Connection) -> None:
    """As after a change of model: the picture is known, this encoder has not seen it."""
    embeddings = clustered(2, 16, seed=1)
    encoder = await claim(connection)
    await store(connection, "ab", embeddings)
    a, b = picture("a").id, picture("b").id
    await connection.execute("delete from image_embeddings where image_id = %s", (a,))
    known = await known_images(connection, encoder, [a, b, image_id("holiday", b"other")])
    assert {id_: known_.encoded for id_, known_ in known.items()} == {a: False, b: True}
    assert (known[a].uri, known[a].captions) == ("a.jpg", ["a!"])
    assert await store(connection, "ab", embeddings) == [a]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, 2.0, 1e38])
async def test_a_vector_that_is_no_unit_vector_takes_the_whole_batch_back(
    connection: Connection, wrong: float
) -> None:
    embeddings = clustered(3, 16, seed=1)
    await claim(connection)
    embeddings[1] = wrong
    with np.errstate(over="ignore"), pytest.raises(psycopg.DatabaseError):
        await store(connection, "abc", embeddings)
    for table in ("images", "captions", "image_embeddings"):
        assert await count(connection, table) == 0
    assert len(await store(connection, "abc", clustered(3, 16, seed=1))) == 3  # the connection is still good


async def test_a_batch_that_does_not_fit_together_is_refused(connection: Connection) -> None:
    encoder = await claim(connection)
    rows, embeddings = [picture("a"), picture("b")], clustered(2, 16, seed=1)
    with pytest.raises(ValueError, match="zip"):
        await store_images(connection, encoder, rows, [said("x")], embeddings)
    with pytest.raises(ValueError, match="zip"):
        await store_images(connection, encoder, rows, [[], []], embeddings[:1])
    with pytest.raises(errors.CheckViolation):
        await store_images(connection, encoder, rows, [[], []], clustered(2, 8, seed=1))
    assert await count(connection, "images") == 0


async def test_two_workers_may_store_the_same_pictures_at_once(pool: Pool) -> None:
    names = [f"picture {i}" for i in range(300)]
    embeddings = clustered(300, 16, seed=1)
    async with pool.connection() as connection:
        await claim(connection)

    async def work(seed: int) -> int:
        order = np.random.default_rng(seed).permutation(300)
        stored = 0
        async with pool.connection() as connection:
            for part in np.split(order, 6):
                stored += len(await store(connection, [names[i] for i in part], embeddings[part]))
        return stored

    assert sum(await asyncio.gather(*map(work, range(4)))) == 300
    async with pool.connection() as connection:
        for table in ("images", "captions", "image_embeddings"):
            assert await count(connection, table) == 300
        for name, embedding in list(zip(names, embeddings, strict=True))[::50]:
            (stored,) = (await embeddings_of(connection, [picture(name).id])).values()
            np.testing.assert_allclose(stored, embedding, atol=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6, 1.0])
async def test_scores_are_the_cosines_numpy_computes(connection: Connection, alpha: float) -> None:
    embeddings = clustered(50, 16, seed=1)
    names = [str(i) for i in range(50)]
    await store(connection, names, embeddings)
    text, image = clustered(2, 16, seed=2)
    combined = alpha * text + (1 - alpha) * image
    combined /= np.linalg.norm(combined)
    hits = await search_images(connection, [text, image], [alpha, 1 - alpha], k=50)
    position = {picture(name).id: i for i, name in enumerate(names)}
    order = [position[hit.id] for hit in hits]
    for scores, query in (
        ([hit.score for hit in hits], combined),
        ([hit.term_scores[0] for hit in hits], text),
        ([hit.term_scores[1] for hit in hits], image),
    ):
        np.testing.assert_allclose(np.array(scores, dtype=float), embeddings[order] @ query, atol=2e-3)
    assert [hit.rank for hit in hits] == list(range(1, 51))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert (hits[0].width, hits[0].height, hits[0].format, hits[0].collection) == (40, 30, "jpeg", "holiday")
    assert hits[0].captions == [f"{order[0]}!"]


async def test_the_score_of_a_term_alone_is_the_score(connection: Connection) -> None:
    embeddings = clustered(5, 16, seed=1)
    await store(connection, "abcde", embeddings)
    for weight in (1.0, 0.3, 10.0):
        (hit,) = await search_images(connection, [embeddings[1]], [weight], k=1)
        assert (hit.id, hit.term_scores) == (picture("b").id, [pytest.approx(hit.score, abs=1e-6)])
    away = await search_images(connection, [embeddings[1]], [-1.0], k=5)
    assert away[-1].id == picture("b").id
    assert [hit.score for hit in away] == [pytest.approx(-hit.term_scores[0], abs=1e-6) for hit in away]


async def test_searches_take_filters_and_pages(connection: Connection) -> None:
    embeddings = clustered(40, 16, seed=1)
    encoder = await claim(connection)
    await claim_collection(connection, "work", root=None)
    rows = [picture(str(i), "work" if i % 4 == 0 else "holiday", even=i % 2 == 0) for i in range(40)]
    await store_images(connection, encoder, rows, [[] for _ in rows], embeddings)

    async def ids(**arguments: Any) -> list[Any]:
        hits = await search_images(connection, [embeddings[0]], **arguments)
        return [hit.id for hit in hits]

    work = await ids(k=40, filters=Filters(collection="work"))
    assert set(work) == {row.id for row in rows[::4]}
    even = await ids(k=40, filters=Filters(attributes={"even": True}))
    assert set(even) == {row.id for row in rows[::2]}
    both = await ids(k=40, filters=Filters(collection="holiday", attributes={"even": True}))
    assert set(both) == {row.id for row in rows[2::4]}
    assert await ids(k=5, filters=Filters(collection="none")) == []
    everything = await ids(k=40)
    assert await ids(k=10, skip=30) == everything[30:]
    assert await ids(k=40, exact=True) == everything
    alike = await similar_images(connection, rows[0].id, k=3, filters=Filters(collection="work"))
    assert [hit.id for hit in alike] == work[1:4]
    assert [[hit.score] for hit in alike] == [hit.term_scores for hit in alike]


async def test_a_gallery_is_one_encoders(connection: Connection) -> None:
    encoder = await claim(connection)
    await store(connection, "a", clustered(1, 16, seed=1))
    assert await claim(connection) == encoder
    with pytest.raises(EncoderMismatchError) as caught:
        await claim_encoder(
            connection,
            name="other",
            checkpoint="/models/other",
            fingerprint="cd" * 32,
            dimension=16,
            preprocessing={},
        )
    for named in ("/models/small", "/models/other", FINGERPRINT[:12], "cdcdcdcdcdcd"):
        assert named in str(caught.value)
    active = await active_encoder(connection)
    assert active is not None
    assert (active.id, active.name, active.state, active.images) == (encoder, "small", "active", 1)
    assert await list_encoders(connection) == [active]


async def test_a_gallery_without_pictures_takes_another_encoder(connection: Connection) -> None:
    await claim(connection)
    second = await claim(connection, dimension=24, fingerprint="cd" * 32)
    active = await active_encoder(connection)
    assert active is not None
    assert (active.id, active.dimension) == (second, 24)
    assert [(row.id, row.state) for row in await list_encoders(connection)] == [(2, "active"), (1, "ready")]


async def test_an_empty_gallery_has_no_encoder(connection: Connection) -> None:
    assert await active_encoder(connection) is None
    assert await list_encoders(connection) == []


async def test_several_processes_claim_an_empty_gallery_at_once(pool: Pool) -> None:
    async def work() -> int:
        async with pool.connection() as connection:
            return await claim(connection)

    assert await asyncio.gather(*(work() for _ in range(4))) == [1, 1, 1, 1]


async def test_a_collection_lives_in_one_place(connection: Connection) -> None:
    await claim_collection(connection, "holiday", root="/photos")
    await claim_collection(connection, "holiday", root="/photos")
    await claim_collection(connection, "uploads", root=None)
    with pytest.raises(CollectionConflictError, match="'holiday' is the folder /photos; index /other under"):
        await claim_collection(connection, "holiday", root="/other")
    with pytest.raises(
        CollectionConflictError, match="'holiday' is the folder /photos, indexed in place; upload"
    ):
        await claim_collection(connection, "holiday", root=None)
    with pytest.raises(CollectionConflictError, match="'uploads' is uploads; index /photos under another"):
        await claim_collection(connection, "uploads", root="/photos")
    rows = await list_collections(connection)
    assert [(row.name, row.root, row.images) for row in rows] == [
        ("holiday", "/photos", 0),
        ("uploads", None, 0),
    ]


async def test_deleted_pictures_are_gone(connection: Connection) -> None:
    await store(connection, "abc", clustered(3, 16, seed=1))
    assert await delete_images(connection, [picture("a").id, image_id("holiday", b"other")]) == 1
    assert {hit.id for hit in await search_images(connection, [clustered(1, 16, seed=2)[0]])} == {
        picture("b").id,
        picture("c").id,
    }


async def test_the_index_is_built_once_and_says_how_far_it_is(database_url: str) -> None:
    embeddings = clustered(6000, 32, seed=1)
    async with make_pool(database_url) as pool, pool.connection() as working, pool.connection() as watching:
        encoder = await claim(working, 32)
        assert await index_build_progress(watching) is None
        await store(working, [str(i) for i in range(len(embeddings))], embeddings)
        assert await has_embedding_index(watching, encoder) is False
        build = asyncio.create_task(build_embedding_index(working, encoder))
        seen: list[tuple[int, int]] = []
        while not build.done():
            progress = await index_build_progress(watching)
            if progress:
                seen.append(progress)
            await asyncio.sleep(0.002)
        assert await build is True
        assert seen
        assert all(0 <= done <= total for done, total in seen)
        assert await has_embedding_index(watching, encoder) is True
        assert await build_embedding_index(working, encoder) is False


async def test_sessions_are_set_as_the_pool_says(database_url: str) -> None:
    async with make_pool(database_url, statement_timeout_s=0.2) as pool, pool.connection() as connection:
        shown = {}
        for name in ("jit", "search_path", "statement_timeout", "idle_in_transaction_session_timeout"):
            row = await (await connection.execute("select current_setting(%s)", (name,))).fetchone()
            shown[name] = row[0]
        assert shown == {
            "jit": "off",
            "search_path": "image_retrieval, public, pg_temp",
            "statement_timeout": "200ms",
            "idle_in_transaction_session_timeout": "1min",
        }
        with pytest.raises(errors.QueryCanceled):
            await connection.execute("select pg_sleep(5)")


async def test_a_waiting_statement_gives_up_in_time(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("lock table image_retrieval.images")
        async with make_pool(database_url, statement_timeout_s=0.2) as pool, pool.connection() as connection:
            with pytest.raises(errors.QueryCanceled):
                await find_image(connection, picture("a").id)


async def test_a_search_that_is_cancelled_gives_its_connection_back(database_url: str) -> None:
    async with make_pool(database_url, size=1) as pool:

        async def sleep() -> None:
            async with pool.connection() as connection:
                await connection.execute("select pg_sleep(30)")

        for _ in range(5):
            task = asyncio.create_task(sleep())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with pool.connection() as connection:
            await connection.execute("select 1")
        assert pool.get_stats()["pool_available"] == 1


async def test_a_transaction_left_open_lets_go_of_its_locks(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection.IDLE_IN_TRANSACTION_S", 1)
    async with make_pool(database_url) as pool:
        forgotten = await pool.getconn()
        await forgotten.execute("begin")
        await forgotten.execute("lock table images")
        with psycopg.connect(database_url) as other:
            other.execute("set lock_timeout = '30s'")
            other.execute("lock table image_retrieval.images")
        await pool.putconn(forgotten)


async def test_many_at_once_on_a_pool_of_one_keep_their_own_settings(database_url: str) -> None:
    embeddings = clustered(300, 16, seed=1)
    async with make_pool(database_url, size=1, timeout_s=30) as pool:
        async with pool.connection() as connection:
            await store(connection, [str(i) for i in range(300)], embeddings)

        async def ask(k: int, number: int) -> None:
            async with pool.connection() as connection:
                if number % 3:
                    hits = await search_images(connection, [embeddings[number]], k=k)
                else:
                    async with connection.transaction():
                        hits = await search_images(connection, [embeddings[number]], k=k)
                        await search_images(connection, [embeddings[number]], k=2)
                assert len(hits) == k
                for setting, usual in (("ef_search", "40"), ("iterative_scan", "off")):
                    row = await (await connection.execute(f"show hnsw.{setting}")).fetchone()
                    assert row[0] == usual

        await asyncio.gather(*(ask(k, number) for number, k in enumerate([1, 250, 7, 300, 40, 90] * 10)))


async def test_one_connection_serves_searches_of_different_k(connection: Connection) -> None:
    """The settings of one call, as ef_search, do not reach the next."""
    embeddings = clustered(50, 16, seed=1)
    await store(connection, [str(i) for i in range(50)], embeddings)
    for k in (50, 1, 20, 50):
        for _ in range(3):  # also when psycopg has prepared it
            hits = await search_images(connection, [embeddings[0]], k=k)
            assert len(hits) == k
    row = await (await connection.execute("select current_setting('hnsw.ef_search')")).fetchone()
    assert row[0] == "40"
