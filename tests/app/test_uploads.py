"""What a user may rely on when a picture is uploaded, taken away, or served from disk."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app import uploads
from app.errors import GalleryFileMissingError, StoreFailedError, UploadRefusedError
from app.indexing import index_folder
from app.uploads import add_image, picture_path, remove_image
from db.connection import Connection, Pool
from db.errors import CollectionConflictError
from db.gallery import Caption, Embedding, ImageRow, captions_of, find_image
from db.storing import claim_encoder, store_images
from embedding.errors import UnreadableImageError
from tests.app.pictures import draw, write_pictures
from tests.encoders import FakeEncoder

Upload = Callable[..., Awaitable[tuple[ImageRow, bool]]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "uploads"


@pytest.fixture
async def upload(pool: Pool, connection: Connection, store: Path) -> Upload:
    """add_image into this test's gallery and store."""
    encoder = FakeEncoder()
    encoder_id = await claim_encoder(
        connection,
        name="fake",
        checkpoint=encoder.checkpoint,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        preprocessing={},
    )

    async def encode_image(image: Image.Image) -> Embedding:
        await asyncio.sleep(0)
        return encoder.encode_images([image])[0]

    async def upload(data: bytes, **options: Any) -> tuple[ImageRow, bool]:
        given = {"collection": "inbox", "encode_image": encode_image, "max_pixels": 10**6} | options
        return await add_image(data, pool=pool, encoder_id=encoder_id, upload_dir=store, **given)

    return upload


def files(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


async def test_an_upload_is_a_file_and_a_row(upload: Upload, store: Path, connection: Connection) -> None:
    data = draw(1)
    image, created = await upload(
        data, captions=[Caption("a dog\0 ", "en"), Caption(" ")], attributes={"year": 2019}
    )
    digest = hashlib.sha256(data).hexdigest()
    assert created
    assert (image.collection, image.uri) == ("inbox", f"{digest[:2]}/{digest}.jpg")
    assert (image.width, image.height, image.format, image.byte_size) == (48, 32, "jpeg", len(data))
    assert picture_path(image, None, store).read_bytes() == data
    assert await find_image(connection, image.id) == (image, None)
    assert image.attributes == {"year": 2019}
    assert await captions_of(connection, image.id) == [Caption("a dog", "en")]
    cursor = await connection.execute("select count(*) from gallery where id = %s", (image.id,))
    assert await cursor.fetchone() == (1,)


async def test_the_same_picture_again_is_the_same_row(
    upload: Upload, store: Path, connection: Connection
) -> None:
    first, _ = await upload(draw(1), captions=[Caption("one")], attributes={"year": 2019})
    again, created = await upload(draw(1))
    assert (again, created) == (first, False)
    assert await captions_of(connection, first.id) == [Caption("one")]
    again, created = await upload(draw(1), captions=[Caption("two")], attributes={"year": 2020})
    assert not created
    assert again.attributes == {"year": 2020}
    assert await captions_of(connection, first.id) == [Caption("two")]
    assert len(files(store)) == 1


async def test_the_same_picture_at_once_is_created_once(upload: Upload, store: Path) -> None:
    answers = await asyncio.gather(*(upload(draw(1), captions=[Caption(str(n))]) for n in range(4)))
    assert sorted(created for _, created in answers) == [False, False, False, True]
    assert len(files(store)) == 1


async def test_a_lost_file_comes_back_with_the_picture(upload: Upload, store: Path) -> None:
    image, _ = await upload(draw(1))
    picture_path(image, None, store).unlink()
    assert (await upload(draw(1)))[1] is False
    assert picture_path(image, None, store).read_bytes() == draw(1)


async def test_what_cannot_be_taken_leaves_nothing(
    upload: Upload, store: Path, connection: Connection
) -> None:
    with pytest.raises(UnreadableImageError, match=r"^notes\.txt: "):
        await upload(b"no picture", name="notes.txt")
    with pytest.raises(UploadRefusedError, match="40,000 captions"):
        await upload(draw(1), captions=[Caption("x")] * 40_000)
    with pytest.raises(UploadRefusedError, match="attributes"):
        await upload(draw(1), attributes={"nul": "\0"})
    with pytest.raises(UploadRefusedError, match="no name"):
        await upload(draw(1), collection=" ")
    cursor = await connection.execute("select count(*) from images")
    assert await cursor.fetchone() == (0,)
    cursor = await connection.execute("select count(*) from collections")
    assert await cursor.fetchone() == (0,)


async def test_a_folder_indexed_in_place_takes_no_uploads(
    upload: Upload, pool: Pool, tmp_path: Path, store: Path
) -> None:
    write_pictures(tmp_path / "photos", 1)
    await index_folder(tmp_path / "photos", encoder=FakeEncoder(), pool=pool)
    with pytest.raises(CollectionConflictError, match="indexed in place"):
        await upload(draw(0), collection="photos")
    assert not store.exists()


@pytest.mark.parametrize("step", ["_write_durably", "store_images"])
async def test_a_crash_leaves_no_row_without_a_file(
    upload: Upload, store: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt  # nothing that the code may handle

    with monkeypatch.context() as patch:
        patch.setattr(uploads, step, crash)
        with pytest.raises(KeyboardInterrupt):
            await upload(draw(1))
    cursor = await connection.execute("select count(*) from images")
    assert await cursor.fetchone() == (0,)
    assert len(files(store)) == (step == "store_images")  # a file without a row does no harm:
    assert (await upload(draw(1)))[1] is True
    assert len(files(store)) == 1


async def test_a_disk_that_fails_leaves_no_half_file(
    upload: Upload, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreFailedError, match="No space left"):
            await upload(draw(1))
    assert files(store) == []
    assert (await upload(draw(1)))[1] is True


async def test_a_removed_upload_is_gone_from_gallery_and_disk(
    upload: Upload, pool: Pool, store: Path
) -> None:
    one, _ = await upload(draw(1))
    other, _ = await upload(draw(1), collection="second")
    assert one.uri == other.uri
    assert await remove_image(pool, one.id, store)
    assert files(store) == [other.uri]  # the other collection's row uses it
    assert not await remove_image(pool, one.id, store)
    assert await remove_image(pool, other.id, store)
    assert files(store) == []


async def test_removing_a_picture_of_a_folder_leaves_its_file(
    pool: Pool, connection: Connection, tmp_path: Path, store: Path
) -> None:
    write_pictures(tmp_path / "photos", 1)
    await index_folder(tmp_path / "photos", encoder=FakeEncoder(), pool=pool)
    cursor = await connection.execute("select id from images")
    ((image_id,),) = await cursor.fetchall()
    assert await remove_image(pool, image_id, store)
    assert (tmp_path / "photos" / "00000.jpg").exists()
    assert await find_image(connection, image_id) is None


async def test_an_upload_and_a_removal_at_once_leave_row_and_file_in_step(
    upload: Upload, pool: Pool, store: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(*arguments: Any) -> Any:
        await asyncio.sleep(0.1)  # between the file, which is there, and the row
        return await store_images(*arguments)

    image, _ = await upload(draw(1))
    monkeypatch.setattr(uploads, "store_images", slowly)
    uploading = asyncio.create_task(upload(draw(1)))
    await asyncio.sleep(0.05)
    await remove_image(pool, image.id, store)
    await uploading
    assert (files(store) != []) == (await find_image(connection, image.id) is not None)


async def test_a_picture_is_served_from_its_own_folder_only(
    upload: Upload, store: Path, tmp_path: Path
) -> None:
    image, _ = await upload(draw(1))
    root = tmp_path / "photos"
    write_pictures(root, 1)
    (tmp_path / "secret.jpg").write_bytes(draw(2))
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "out").symlink_to(tmp_path)
    (root / "inner.jpg").symlink_to(root / "00000.jpg")
    assert picture_path(replace(image, uri="inner.jpg"), str(root), store) == root / "00000.jpg"
    for uri in ("link.jpg", "out/secret.jpg", "../secret.jpg", str(tmp_path / "secret.jpg")):
        with pytest.raises(GalleryFileMissingError, match="leads out of its folder"):
            picture_path(replace(image, uri=uri), str(root), store)
    for uri in ("gone.jpg", "."):
        with pytest.raises(GalleryFileMissingError, match="is gone"):
            picture_path(replace(image, uri=uri), str(root), store)
