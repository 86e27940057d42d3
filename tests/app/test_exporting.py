"""A collection goes out into files and comes back as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import ExchangeError
from app.exchange import Format
from app.exporting import ExchangeReport, export_collection, import_collection
from app.service import Service, open_service
from app.settings import Settings
from db.connection import Connection, Pool
from db.exchange import Known, known_pictures
from db.gallery import Caption, EncoderRow
from db.judgements import store_judgements
from db.storing import replace_attributes, replace_captions
from embedding.encoder import Encoder
from tests.app.conftest import COLOURS
from tests.encoders import FakeEncoder
from training.captions import load_captioned_photos

FORMATS = ("parquet", "webdataset")
ODD = 'ảnh "đỏ",\ttab\nand a line'


async def known(connection: Connection, collection: str) -> dict[str, Known]:
    pictures = await known_pictures(connection, collection, after=None, limit=100)
    return {" ".join(sorted(caption.body for caption in each.captions)): each for each in pictures}


async def say_more(service: Service) -> None:
    """Give a picture captions in two languages, attributes and judgements."""
    async with service.writing_pool.connection() as connection:
        id_ = next(iter((await known(connection, "colours")).values())).id
        await replace_captions(connection, {id_: [Caption(ODD, "vi"), Caption("plain", None)]})
        await replace_attributes(connection, id_, {"shelf": {"row": 3}, "tags": ["a", "b"]})
        await store_judgements(connection, "a question?", more=[id_], less=[])


def never(_: EncoderRow) -> Encoder:
    raise AssertionError("nothing has to be encoded")


async def bring_in(
    pool: Pool, folder: Path, settings: Settings, *, encoder: Callable[[EncoderRow], Encoder] = never
) -> ExchangeReport:
    return await import_collection(
        pool, folder, "again", upload_dir=settings.data_dir / "uploads",
        max_pixels=settings.max_pixels, open_gallerys_encoder=encoder,
    )  # fmt: skip


def comparable(picture: Known) -> dict[str, Any]:
    return {
        "captions": picture.captions,
        "attributes": picture.attributes,
        "judgements": picture.judgements,
        "embedding": None if picture.embedding is None else picture.embedding.tolist(),
    }


@pytest.mark.parametrize("form", FORMATS)
async def test_a_round_trip_changes_nothing(
    form: Format, service: Service, settings: Settings, tmp_path: Path
) -> None:
    await say_more(service)
    out = tmp_path / "out"
    report = await export_collection(service.pool, "colours", out, form, upload_dir=service.upload_dir)
    assert (report.pictures, report.failed) == (len(COLOURS), [])
    for _ in range(2):  # again changes nothing
        report = await bring_in(service.writing_pool, out, settings)
        assert (report.pictures, report.encoded, report.failed) == (len(COLOURS), 0, [])
        async with service.pool.connection() as connection:
            before, after = await known(connection, "colours"), await known(connection, "again")
        assert before.keys() == after.keys()
        for said, picture in before.items():
            assert comparable(after[said]) == comparable(picture)


@pytest.mark.parametrize("form", FORMATS)
async def test_an_empty_gallery_takes_the_encoder_too(
    form: Format, service: Service, settings: Settings, tmp_path: Path, encoder: FakeEncoder
) -> None:
    out = tmp_path / "out"
    await export_collection(service.pool, "colours", out, form, upload_dir=service.upload_dir)
    async with service.writing_pool.connection() as connection:
        await connection.execute("truncate images, collections cascade")
        await connection.execute("update encoders set name = 'another', fingerprint = repeat('0', 64)")
    await bring_in(service.writing_pool, out, settings)
    async with open_service(settings, encoder) as reopened, reopened.pool.connection() as connection:
        assert len(await known(connection, "again")) == len(COLOURS)


async def test_pictures_of_another_encoders_export_are_encoded(
    service: Service, settings: Settings, tmp_path: Path, encoder: FakeEncoder
) -> None:
    out = tmp_path / "out"
    await export_collection(service.pool, "colours", out, "webdataset", upload_dir=service.upload_dir)
    facts = json.loads((out / "encoder.json").read_text())
    (out / "encoder.json").write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
    report = await bring_in(service.writing_pool, out, settings, encoder=lambda _: encoder)
    assert report.encoded == len(COLOURS)
    async with service.pool.connection() as connection:
        for picture in (await known(connection, "again")).values():
            assert picture.embedding is not None
            assert np.linalg.norm(picture.embedding) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_can_be_trained_on(form: Format, service: Service, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await export_collection(service.pool, "colours", out, form, upload_dir=service.upload_dir)
    photos = load_captioned_photos(out / "pictures.parquet" if form == "parquet" else out)
    assert {caption for photo in photos for caption in photo.captions} >= {"a red picture", "all blue"}
    assert all(photo.source.read() for photo in photos)


async def test_a_file_that_is_gone_costs_the_others_nothing(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    (folder / "red.png").unlink()
    report = await export_collection(
        service.pool, "colours", tmp_path / "out", "parquet", upload_dir=service.upload_dir
    )
    assert report.pictures == len(COLOURS) - 1
    assert "red.png is gone" in report.failed[0].error


async def test_what_cannot_be_written_or_read_is_said(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ExchangeError, match="no collection 'nothing'; there are: colours"):
        await export_collection(service.pool, "nothing", out, "parquet", upload_dir=service.upload_dir)
    await export_collection(service.pool, "colours", out, "parquet", upload_dir=service.upload_dir)
    with pytest.raises(ExchangeError, match="holds an export already"):
        await export_collection(service.pool, "colours", out, "webdataset", upload_dir=service.upload_dir)
    with pytest.raises(ExchangeError, match="holds no whole export"):
        await bring_in(service.writing_pool, tmp_path, settings)
    whole = (out / "pictures.parquet").read_bytes()
    (out / "pictures.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExchangeError, match="no export, or damaged"):
        await bring_in(service.writing_pool, out, settings)
