"""Words that were asked can be asked again in SQL alone."""

import asyncio
import unicodedata

import httpx
import psycopg
import pytest

from app.search import Question, search
from app.service import Service, open_service
from app.settings import Settings
from app.terms import Term
from app.text_memory import TextMemory
from db.connection import Connection, Pool
from db.encoders import activate_encoder
from tests.app.test_encoders import add, fill
from tests.encoders import FakeEncoder


async def known_words(connection: Connection) -> list[str]:
    cursor = await connection.execute("select words from text_embeddings order by words")
    return [words for (words,) in await cursor.fetchall()]


async def test_psql_finds_what_the_service_was_asked(service: Service, client: httpx.AsyncClient) -> None:
    asked = (await client.get("/api/search", params={"text": " a red picture", "k": 3})).json()["hits"]
    async with service.pool.connection() as connection:
        async with asyncio.timeout(30):
            while not await known_words(connection):
                await asyncio.sleep(0.05)
        for words in ("a red picture", "a red picture "):
            cursor = await connection.execute(
                "select image_id::text, score from search_text(%s, 3)", (words,)
            )
            rows = await cursor.fetchall()
            assert [id_ for id_, _ in rows] == [hit["id"] for hit in asked]
            assert [score for _, score in rows] == pytest.approx([hit["score"] for hit in asked], abs=1e-3)
        with pytest.raises(psycopg.errors.NoDataFound, match='has not been asked "a blue picture" lately'):
            await connection.execute("select * from search_text('a blue picture')")


async def test_words_are_known_however_their_accents_were_typed(
    service: Service, settings: Settings, encoder: FakeEncoder
) -> None:
    async with open_service(settings, encoder) as asking:
        await search(asking, Question((Term(text=unicodedata.normalize("NFD", "chó màu đỏ")),)))
    async with service.pool.connection() as connection:
        for form in ("NFC", "NFD"):
            cursor = await connection.execute(
                "select count(*) from search_text(%s)", (unicodedata.normalize(form, "chó màu đỏ"),)
            )
            assert await cursor.fetchone() == (5,)


async def test_another_encoder_has_to_be_asked_anew(
    service: Service, settings: Settings, encoder: FakeEncoder
) -> None:
    async with open_service(settings, encoder) as asking:
        await search(asking, Question((Term(text="red"),)))
    row = await add(service)
    await fill(service, row)
    async with service.writing_pool.connection() as connection:
        await activate_encoder(connection, row.id)
        with pytest.raises(psycopg.errors.NoDataFound):
            await connection.execute("select * from search_text('red')")


async def test_the_words_asked_last_are_kept(pool: Pool, service: Service, encoder: FakeEncoder) -> None:
    async with TextMemory(service.writing_pool, keep=2) as memory:

        async def encode(text: str) -> object:
            return encoder.encode_texts([text])[0]

        remembering = memory.remembering(encode, encoder.fingerprint)  # type: ignore[arg-type]
        for words in ("one", "two", "one", "three"):
            await remembering(words)
            await memory.store()
    async with pool.connection() as connection:
        assert await known_words(connection) == ["one", "three"]


async def test_nothing_is_kept_where_that_is_not_wanted(
    settings: Settings, service: Service, encoder: FakeEncoder
) -> None:
    async with open_service(settings.replace(remember_texts=0), encoder) as forgetful:
        await search(forgetful, Question((Term(text="red"),)))
    async with service.pool.connection() as connection:
        assert await known_words(connection) == []


async def test_a_database_that_cannot_be_written_to_does_not_disturb_who_asks(
    service: Service, encoder: FakeEncoder
) -> None:
    async with service.writing_pool.connection() as connection:
        await connection.execute("drop function search_text; drop table text_embeddings")
    memory = TextMemory(service.writing_pool, keep=2)

    async def encode(text: str) -> object:
        return encoder.encode_texts([text])[0]

    assert (await memory.remembering(encode, encoder.fingerprint)("red")).shape == (64,)  # type: ignore[arg-type]
    await memory.store()
