"""Another encoder beside the active one: filled, compared, switched to, gone back from, dropped."""

from pathlib import Path

import psycopg
import pytest

from app.comparing import compare_encoders
from app.errors import QuestionError
from app.filling import FillReport, fill_encoder
from app.service import Service
from db.encoders import (
    activate_encoder,
    add_encoder,
    announce_encoder,
    announced_encoder,
    count_unseen,
    drop_encoder,
    find_encoder,
    previous_encoder,
)
from db.errors import EncoderStateError
from db.gallery import EncoderRow, active_encoder
from db.searching import search_images
from tests.app.conftest import COLOURS
from tests.encoders import FakeEncoder

OTHER = FakeEncoder("fake/other", dimension=48)


async def add(service: Service, encoder: FakeEncoder = OTHER) -> EncoderRow:
    async with service.writing_pool.connection() as connection:
        await add_encoder(
            connection,
            name=Path(encoder.checkpoint).name,
            checkpoint=encoder.checkpoint,
            fingerprint=encoder.fingerprint,
            dimension=encoder.dimension,
            preprocessing=encoder.preprocessing(),
        )
        return await find_encoder(connection, Path(encoder.checkpoint).name)


async def fill(service: Service, row: EncoderRow, encoder: FakeEncoder = OTHER) -> FillReport:
    return await fill_encoder(
        encoder, row.id, pool=service.writing_pool, upload_dir=service.upload_dir, batch_size=3
    )


async def first(service: Service, encoder: FakeEncoder, words: str) -> str:
    async with service.pool.connection() as connection:
        return (await search_images(connection, [encoder.encode_texts([words])[0]], k=1))[0].uri


async def test_an_encoder_is_filled_beside_the_active_one_and_switched_to_and_back(
    service: Service, encoder: FakeEncoder
) -> None:
    row = await add(service)
    assert row.state == "loading"
    report = await fill(service, row)
    assert (report.filled, report.failed, report.index_built) == (len(COLOURS), [], True)
    assert await first(service, encoder, "red") == "red.png"  # nothing has changed for searches
    async with service.writing_pool.connection() as connection:
        assert (await find_encoder(connection, "other")).state == "ready"
        assert await activate_encoder(connection, row.id) == 0
        assert await first(service, OTHER, "red") == "red.png"
        back = await previous_encoder(connection)
        assert back.fingerprint == encoder.fingerprint
        await activate_encoder(connection, back.id)
        assert await first(service, encoder, "blue") == "blue.png"
        assert (await previous_encoder(connection)).id == row.id


async def test_filling_goes_on_where_it_was_and_does_only_what_is_missing(service: Service) -> None:
    row = await add(service)

    class Fails(FakeEncoder):
        batches = 0

        def encode_images(self, images):  # type: ignore[no-untyped-def]
            self.batches += 1
            if self.batches == 2:
                raise MemoryError
            return super().encode_images(images)

    with pytest.raises(MemoryError):
        await fill(service, row, Fails("fake/other", dimension=48))
    async with service.pool.connection() as connection:
        assert await count_unseen(connection, row.id) == len(COLOURS) - 3
    assert (await fill(service, row)).filled == len(COLOURS) - 3
    again = await fill(service, row)
    assert (again.filled, again.failed) == (0, [])


async def test_a_picture_that_is_gone_or_another_by_now_fails_alone(service: Service, folder: Path) -> None:
    row = await add(service)
    (folder / "red.png").unlink()
    (folder / "blue.png").write_bytes((folder / "lime.png").read_bytes())
    report = await fill(service, row)
    assert report.filled == len(COLOURS) - 2
    told = " ".join(failure.error for failure in report.failed)
    assert "colours/red.png is gone" in told
    assert "colours/blue.png: the file holds another picture by now" in told


async def test_an_encoder_that_has_not_seen_every_picture_is_not_switched_to(service: Service) -> None:
    row = await add(service)
    async with service.writing_pool.connection() as connection:
        with pytest.raises(EncoderStateError, match=r"8 pictures lack .* encoders fill"):
            await activate_encoder(connection, row.id)
        active = await active_encoder(connection)
        assert active is not None
        assert active.name == "encoder"
        assert await activate_encoder(connection, row.id, unseen_allowed=8) == 8


async def test_an_announced_switch_is_known_until_it_is_made_or_long_past(service: Service) -> None:
    row = await add(service)
    await fill(service, row)
    async with service.writing_pool.connection() as connection:
        assert await announced_encoder(connection) is None
        await announce_encoder(connection, row.id)
        announced = await announced_encoder(connection)
        assert announced is not None
        assert announced.id == row.id
        await connection.execute("update encoder_switches set announced_at = now() - interval '1 hour'")
        assert await announced_encoder(connection) is None
        await announce_encoder(connection, row.id)
        await activate_encoder(connection, row.id)
        assert await announced_encoder(connection) is None


async def test_a_dropped_encoder_takes_its_vectors_along_and_nothing_else(service: Service) -> None:
    row = await add(service)
    await fill(service, row)
    async with service.writing_pool.connection() as connection:
        active = await active_encoder(connection)
        assert active is not None
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="activate another first"):
            await drop_encoder(connection, active.id)
        await drop_encoder(connection, row.id)
        with pytest.raises(EncoderStateError, match="no encoder 'other'; it has: encoder"):
            await find_encoder(connection, "other")
        cursor = await connection.execute(
            "select (select count(*) from images), (select count(*) from captions),"
            " (select count(*) from image_embeddings)"
        )
        assert await cursor.fetchone() == (len(COLOURS), 2 * len(COLOURS), len(COLOURS))
    again = await add(service)  # another id: nothing of the first is left in its way
    assert (await fill(service, again)).filled == len(COLOURS)


async def test_two_encoders_are_compared_by_the_gallery_s_own_captions(
    service: Service, encoder: FakeEncoder
) -> None:
    class Blind(FakeEncoder):
        """Sees every text as the same."""

        def encode_texts(self, texts):  # type: ignore[no-untyped-def]
            return super().encode_texts(["red"] * len(texts))

    blind = Blind("fake/other", dimension=48)
    row = await add(service, blind)
    async with service.pool.connection() as connection:
        active = await active_encoder(connection)
    assert active is not None
    both = (active, encoder), (row, blind)
    with pytest.raises(QuestionError, match=r"0 pictures .* fill the new encoder first"):
        await compare_encoders(service.pool, *both, pictures=100)
    await fill(service, row, blind)
    comparison = await compare_encoders(service.pool, *both, pictures=100)
    assert (comparison.pictures, comparison.captions) == (len(COLOURS), 2 * len(COLOURS))
    figures = {name: (old, new, one) for name, old, new, one in comparison.figures}
    old, new, difference = figures["text to image R@1"]
    assert old == 100
    assert new == 100 / len(COLOURS)
    assert difference.differs
    assert difference.value == new - old
    assert comparison.moved[0].before == 1
    assert comparison.moved[0].after > 1
    assert 0 < comparison.overlap_at_10 <= 1
