"""What a user may rely on when a folder is indexed; the database is real, the encoder a stand-in."""

import asyncio
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import indexing
from app.indexing import index_folder
from app.progress import show_progress
from db.connection import Connection, Pool
from db.embedding_index import build_embedding_index, has_embedding_index
from db.errors import CollectionConflictError, EncoderMismatchError
from db.storing import claim_collection, image_id
from embedding.images import decode_image, perceptual_hash
from tests.app.pictures import CountingEncoder, draw, write_pictures
from training.captions import load_flickr8k_captions


async def index(path: Path, pool: Pool, **options: Any) -> indexing.IndexReport:
    return await index_folder(path, encoder=options.pop("encoder", CountingEncoder()), pool=pool, **options)


async def uris(connection: Connection) -> dict[str, UUID]:
    cursor = await connection.execute("select uri, id from gallery")
    rows = await cursor.fetchall()
    assert len({uri for uri, _ in rows}) == len(rows)
    return dict(rows)


async def said(connection: Connection) -> dict[str, list[str]]:
    cursor = await connection.execute(
        "select uri, array_agg(body order by position)"
        " from captions join images on id = image_id group by uri"
    )
    return dict(await cursor.fetchall())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures: eight in the folder, two in a folder below it."""
    folder = tmp_path / "photos"
    write_pictures(folder, 8)
    write_pictures(folder / "sea", 2, first=8)
    return folder


async def test_a_folder_is_indexed_whole_and_again_adds_nothing(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    first = await index(folder, pool)
    assert (first.indexed, first.already_there, first.failed) == (10, 0, [])
    assert first.collection == "photos"
    assert first.index_built
    assert first.seconds > 0 < first.images_per_second
    encoder = CountingEncoder()
    again = await index(folder, pool, encoder=encoder)
    assert (again.indexed, again.already_there, again.failed, again.index_built) == (0, 10, [], False)
    assert encoder.seen == 0
    assert "sea/00008.jpg" in await uris(connection)


async def test_a_row_holds_the_facts_of_its_file(folder: Path, pool: Pool, connection: Connection) -> None:
    data = (folder / "00003.jpg").read_bytes()
    await index(folder, pool)
    cursor = await connection.execute(
        "select width, height, format, byte_size, perceptual_hash, embedding from gallery where id = %s",
        (image_id("photos", data),),
    )
    row = await cursor.fetchone()
    assert row is not None
    image = decode_image(data, name="")
    assert row[:5] == (image.width, image.height, "jpeg", len(data), perceptual_hash(image))
    (expected,) = CountingEncoder().encode_images([image])
    assert row[5].to_numpy() @ expected == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "lines",
    [
        ["image,caption", "00000.jpg,A dog, running.", "00000.jpg,Two", "00009.jpg,The sea"],
        ["00000.jpg#0\tA dog, running.", "00000.jpg#1\tTwo", "00009.jpg#0\tThe sea"],
    ],
    ids=["comma", "numbered"],
)
async def test_captions_come_along_in_both_forms_of_flickr8k(
    folder: Path, pool: Pool, connection: Connection, lines: list[str]
) -> None:
    (folder / "captions.txt").write_text("\n".join(lines))
    report = await index(folder, pool, captions=load_flickr8k_captions(folder / "captions.txt"))
    assert (report.indexed, report.failed, report.captions_without_picture) == (10, [], [])
    assert await said(connection) == {"00000.jpg": ["A dog, running.", "Two"], "sea/00009.jpg": ["The sea"]}


async def test_changed_captions_are_updated_and_others_left_alone(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    await index(folder, pool, captions={"00000.jpg": ["one", "two"], "00001.jpg": ["three"]})
    report = await index(folder, pool, captions={"00000.jpg": ["two"], "00002.jpg": ["new"]})
    assert (report.indexed, report.already_there, report.captions_updated) == (0, 10, 2)
    assert await said(connection) == {"00000.jpg": ["two"], "00001.jpg": ["three"], "00002.jpg": ["new"]}
    assert (await index(folder, pool)).captions_updated == 0


async def test_captions_of_pictures_elsewhere_are_counted_and_fail_nothing(folder: Path, pool: Pool) -> None:
    captions = {"00000.jpg": ["here"], "00009.jpg": ["below"], "never.jpg": ["nowhere"]}
    report = await index(folder / "sea", pool, captions=captions)
    assert report.failed == []
    assert report.captions_without_picture == ["00000.jpg", "never.jpg"]
    assert "2 pictures that are not there: 00000.jpg, never.jpg" in report.summary()


async def test_a_path_in_the_captions_file_beats_a_bare_name(
    tmp_path: Path, pool: Pool, connection: Connection
) -> None:
    for number, place in enumerate(["a", "b", "c"]):
        write_pictures(tmp_path / place, 1, first=number)
        (tmp_path / place / f"{number:05}.jpg").rename(tmp_path / place / "same.jpg")
    write_pictures(tmp_path, 1, first=7)
    (tmp_path / "00007.jpg").rename(tmp_path / "top.jpg")
    (tmp_path / "c" / "same.jpg").rename(tmp_path / "c" / "top.jpg")
    await index(tmp_path, pool, captions={"b/same.jpg": ["b"], "./same.jpg": ["any"], "top.jpg": ["top"]})
    assert await said(connection) == {"a/same.jpg": ["any"], "b/same.jpg": ["b"], "top.jpg": ["top"]}


async def test_captions_that_cannot_be_stored_are_cleaned_or_named(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    await index(folder, pool, captions={"00005.jpg": ["stays"]})
    captions = {
        "00000.jpg": ["nul\0 here", " ", "\0", "half \ud800"],
        "00005.jpg": ["\0"],
        "00001.jpg": ["x"] * 40_000,
        "00002.jpg": ["xy" * 60_000],
        "00003.jpg": ["ư" * 100_000],
        "00004.jpg": [" ".join(f"đường{number}" for number in range(10_000))[:100_000]],
    }
    report = await index(folder, pool, captions=captions)
    assert report.captions_updated == 3
    assert [Path(failure.path).name for failure in report.failed] == ["00001.jpg", "00002.jpg"]
    assert "40,000 captions" in report.failed[0].error
    assert "120,000 characters" in report.failed[1].error
    stored = await said(connection)
    assert stored["00000.jpg"] == ["nul here", "half"]
    assert stored["00005.jpg"] == ["stays"]
    assert stored.keys() == {"00000.jpg", "00003.jpg", "00004.jpg", "00005.jpg"}


async def test_broken_files_are_named_and_cost_the_others_nothing(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    whole = (folder / "00000.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "empty too.png").touch()
    (folder / "text.jpg").write_text("no picture")
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    (folder / "round.jpg").symlink_to(folder / "round.jpg")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(whole)
    report = await index(folder, pool, batch_size=3)
    assert report.indexed == 10
    assert len(await uris(connection)) == 10
    errors = {Path(failure.path).name: failure.error for failure in report.failed}
    assert errors.keys() == {
        "cut.jpg", "empty.png", "empty too.png", "text.jpg", "nowhere.jpg", "round.jpg", "caf�.jpg",
    }  # fmt: skip
    assert all(name in error for name, error in errors.items())
    assert "No such file" in errors["nowhere.jpg"]
    assert report.summary().count("failed: ") == 7
    assert {"path", "error"} == report.as_json()["failed"][0].keys()  # type: ignore[index]


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root reads everything: be nobody for a while, if this is root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


async def test_a_file_without_permission_is_named(folder: Path, pool: Pool) -> None:
    with tempfile.TemporaryDirectory() as public:  # where nobody may pass, too
        Path(public).chmod(0o755)
        folder = Path(shutil.copytree(folder, Path(public) / "folder"))
        (folder / "00000.jpg").chmod(0)
        (folder / "sea").chmod(0)
        with as_an_ordinary_user():
            report = await index(folder, pool)
        (folder / "sea").chmod(0o700)
    assert report.indexed == 7
    assert [failure.error.endswith("Permission denied") for failure in report.failed] == [True, True]


async def test_a_picture_of_which_the_encoder_makes_nothing_fails_alone(folder: Path, pool: Pool) -> None:
    class Faulty(CountingEncoder):
        def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            embeddings = super().encode_images(images)
            embeddings[1] = np.nan
            embeddings[2] = 0
            return embeddings

    report = await index(folder, pool, encoder=Faulty())
    assert report.indexed == 8
    assert [Path(failure.path).name for failure in report.failed] == ["00001.jpg", "00002.jpg"]


async def test_the_same_content_at_two_paths_is_one_picture(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    data = (folder / "00000.jpg").read_bytes()
    for copy in ("00000 copy.jpg", "zz.jpg", "sea/00000.jpg"):
        (folder / copy).write_bytes(data)
    captions = {"00000 copy.jpg": ["first"], "00000.jpg": ["second"], "zz.jpg": ["last"]}
    first = await index(folder, pool, captions=captions, batch_size=4)
    assert (first.indexed, first.already_there) == (10, 3)
    again = await index(folder, pool, captions=captions)
    assert (again.indexed, again.already_there, again.moved, again.captions_updated) == (0, 13, 0, 0)
    assert await said(connection) == {"00000 copy.jpg": ["first"]}


async def test_a_file_that_moved_keeps_its_row(folder: Path, pool: Pool, connection: Connection) -> None:
    await index(folder, pool, captions={"00000.jpg": ["said"]})
    before = await uris(connection)
    (folder / "00000.jpg").rename(folder / "sea" / "new.jpg")
    (folder / "sea" / "twin.jpg").write_bytes((folder / "sea" / "new.jpg").read_bytes())
    encoder = CountingEncoder()
    report = await index(folder, pool, encoder=encoder)
    assert (report.indexed, report.already_there, report.moved, encoder.seen) == (0, 11, 1, 0)
    after = await uris(connection)
    assert after["sea/new.jpg"] == before["00000.jpg"]
    assert len(after) == 10
    assert await said(connection) == {"sea/new.jpg": ["said"]}


async def test_files_that_changed_places_change_their_rows_places(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    await index(folder, pool)
    before = await uris(connection)
    (folder / "00000.jpg").rename(folder / "aside.jpg")
    (folder / "00001.jpg").rename(folder / "00000.jpg")
    (folder / "aside.jpg").rename(folder / "00001.jpg")
    report = await index(folder, pool)
    assert (report.indexed, report.moved, report.replaced) == (0, 2, 0)
    after = await uris(connection)
    assert (after["00000.jpg"], after["00001.jpg"]) == (before["00001.jpg"], before["00000.jpg"])


async def test_a_file_that_changed_replaces_its_picture(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    await index(folder, pool)
    before = await uris(connection)
    (folder / "00000.jpg").write_bytes(draw(99))
    (folder / "00001.jpg").write_text("no longer a picture")
    report = await index(folder, pool)
    assert (report.indexed, report.already_there, report.replaced, len(report.failed)) == (1, 8, 1, 1)
    after = await uris(connection)
    assert after["00000.jpg"] != before["00000.jpg"]
    assert after["00001.jpg"] == before["00001.jpg"]  # the row outlives what could not replace it
    assert len(after) == 10


async def test_a_replacement_that_was_stored_but_not_finished_is_finished(
    folder: Path, pool: Pool, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(folder, pool)
    (folder / "00000.jpg").write_bytes(draw(99))
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "delete_replaced", _fail)
        with pytest.raises(ConnectionAbortedError):
            await index(folder, pool)
    report = await index(folder, pool)
    assert (report.indexed, report.replaced) == (0, 1)
    assert len(await uris(connection)) == 10


async def _fail(*_: object) -> int:
    raise ConnectionAbortedError


async def test_a_picture_whose_file_is_gone_stays(folder: Path, pool: Pool, connection: Connection) -> None:
    await index(folder, pool)
    (folder / "00000.jpg").unlink()
    assert (await index(folder, pool)).already_there == 9
    assert len(await uris(connection)) == 10


async def test_only_pictures_of_the_folder_are_taken(
    folder: Path, tmp_path: Path, pool: Pool, connection: Connection
) -> None:
    (folder / "captions.txt").write_text("image,caption\n")
    write_pictures(folder / ".hidden", 1, first=20)
    (folder / ".dot.jpg").write_bytes(draw(21))
    write_pictures(tmp_path / "elsewhere", 1, first=22)
    (folder / "out.jpg").symlink_to(tmp_path / "elsewhere" / "00022.jpg")
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "in.jpg").symlink_to(folder / ".hidden" / "00020.jpg")
    (folder / "upper.JPG").write_bytes(draw(23))
    report = await index(folder, pool)
    assert (report.indexed, report.failed) == (12, [])
    assert {"in.jpg", "upper.JPG"} < (await uris(connection)).keys()


async def test_a_folder_inside_a_collection_belongs_to_it(
    folder: Path, pool: Pool, connection: Connection
) -> None:
    await index(folder / "sea", pool)
    await index(folder, pool)
    (folder / "hills").mkdir()
    (folder / "hills" / "new.jpg").write_bytes(draw(30))
    assert (await index(folder / "hills", pool)).collection == "photos"
    assert (await index(folder / "sea", pool)).collection == "sea"  # the nearest root
    assert (await index(folder / "sea", pool, collection="photos")).already_there == 2
    cursor = await connection.execute("select collection, uri from images where uri like '%new.jpg'")
    assert await cursor.fetchall() == [("photos", "hills/new.jpg")]


async def test_one_file_may_be_indexed(folder: Path, pool: Pool, connection: Connection) -> None:
    report = await index(folder / "sea" / "00008.jpg", pool, collection="mine")
    assert (report.indexed, report.collection) == (1, "mine")
    assert (await uris(connection)).keys() == {"00008.jpg"}


async def test_a_name_taken_by_another_folder_is_refused(folder: Path, tmp_path: Path, pool: Pool) -> None:
    await index(folder, pool)
    write_pictures(tmp_path / "other" / "photos", 1)
    with pytest.raises(CollectionConflictError, match=r"'photos' is the folder .*another --collection"):
        await index(tmp_path / "other" / "photos", pool)
    async with pool.connection() as connection:
        await claim_collection(connection, "inbox", root=None)
    with pytest.raises(CollectionConflictError, match="'inbox' is uploads"):
        await index(tmp_path / "other", pool, collection="inbox")


async def test_another_encoder_is_refused_and_both_are_named(folder: Path, pool: Pool) -> None:
    await index(folder, pool, encoder=CountingEncoder("first/model"))
    with pytest.raises(EncoderMismatchError, match=r"first/model.*second/model"):
        await index(folder, pool, encoder=CountingEncoder("second/model"))


async def test_an_empty_folder_is_no_error_and_a_missing_one_is(tmp_path: Path, pool: Pool) -> None:
    report = await index(tmp_path, pool)
    assert (report.indexed, report.index_built) == (0, False)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await index(tmp_path / "nowhere", pool)


async def test_an_index_over_few_vectors_is_rebuilt_after_a_large_load(
    folder: Path, pool: Pool, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(folder / "sea", pool)
    cursor = await connection.execute("select id from encoders")
    ((encoder_id,),) = await cursor.fetchall()
    assert await has_embedding_index(connection, encoder_id)
    assert not (await index(folder, pool, collection="all")).index_built  # ten are no large load
    monkeypatch.setattr("app.embedding_index.FEW_VECTORS", 13)
    write_pictures(folder, 6, first=40)
    assert (await index(folder, pool, collection="all")).index_built
    assert await has_embedding_index(connection, encoder_id)
    assert not await build_embedding_index(connection, encoder_id)


async def test_two_indexers_of_one_folder_do_no_harm(
    tmp_path: Path, pool: Pool, connection: Connection
) -> None:
    write_pictures(tmp_path / "photos", 60)
    captions = {f"{number:05}.jpg": [f"picture {number}"] for number in range(60)}
    both = await asyncio.gather(
        *(index(tmp_path / "photos", pool, captions=captions, batch_size=size) for size in (5, 7))
    )
    assert sum(report.indexed for report in both) == 60
    assert all(report.indexed + report.already_there == 60 and not report.failed for report in both)
    assert len(await uris(connection)) == 60
    assert len(await said(connection)) == 60
    changed = {name: [f"{bodies[0]}, again"] for name, bodies in captions.items()}
    await asyncio.gather(*(index(tmp_path / "photos", pool, captions=changed) for _ in range(2)))
    assert await said(connection) == changed


async def test_a_cancelled_run_keeps_whole_batches_and_leaves_nothing_running(
    tmp_path: Path, pool: Pool, connection: Connection
) -> None:
    write_pictures(tmp_path / "photos", 40)
    encoder = CountingEncoder(seconds_a_batch=0.05)
    before = asyncio.all_tasks()
    running = asyncio.create_task(index(tmp_path / "photos", pool, encoder=encoder, batch_size=4))
    while encoder.seen < 12:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() <= before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode_", "encode_"))]
    stored = len(await uris(connection))
    assert 0 < stored < 40
    assert stored % 4 == 0
    report = await index(tmp_path / "photos", pool)
    assert (report.indexed, report.already_there) == (40 - stored, stored)


async def test_what_is_decoded_ahead_is_bounded(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "photos", 120)
    decoded, most_ahead = 0, 0
    encoder = CountingEncoder(seconds_a_batch=0.02)
    read_picture = indexing.read_picture

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal decoded, most_ahead
        decoded += 1
        most_ahead = max(most_ahead, decoded - encoder.seen)
        return read_picture(*arguments, **options)

    monkeypatch.setattr(indexing, "read_picture", counted)
    await index(tmp_path / "photos", pool, encoder=encoder, batch_size=8)
    assert 8 < most_ahead <= 8 + 8 + 1  # one batch being encoded, one in the queue, one at its door


async def test_a_large_picture_reaches_the_encoder_reduced_but_not_too_far(
    tmp_path: Path, pool: Pool
) -> None:
    sizes: list[tuple[int, int]] = []

    class Measuring(CountingEncoder):
        def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            sizes.extend(image.size for image in images)
            return super().encode_images(images)

    large = Image.open(io.BytesIO(draw(1))).resize((3000, 2000), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg")
    large.save(tmp_path / "large.png")
    large.resize((300, 200)).save(tmp_path / "small.png")
    await index(tmp_path, pool, encoder=Measuring())
    assert sizes == [(750, 500), (750, 500), (300, 200)]  # 448 are enough for an input of 224


def test_no_bar_is_drawn_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        progress.begin("indexing", 10)
        progress.advance()
        progress.reach(5, 10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with show_progress() as progress:
        progress.begin("indexing", 10)
        progress.advance(4)
        progress.begin("building the index", 10)
        progress.reach(5, 20)
    out, err = capsys.readouterr()
    assert out == ""
    assert "indexing" in err
    assert "4/10" in err
    assert "5/20" in err
