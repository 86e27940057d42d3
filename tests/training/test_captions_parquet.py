import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_captions import CAPTION
from training import captions_parquet
from training.captions import load_captioned_photos
from training.captions_parquet import ParquetCell, load_parquet
from training.errors import CaptionsError
from training.photos import CaptionedPhoto, FileSource

IMAGES = Path("photos")
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(file: Path, /, rows_per_group: int = 2, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file, row_group_size=rows_per_group)
    return file


def hugging_face(pictures: Sequence[tuple[bytes | None, str | None] | None]) -> Any:
    return pa.array(
        [picture and dict(zip(("bytes", "path"), picture, strict=True)) for picture in pictures], IMAGE
    )


def summary(photos: list[CaptionedPhoto]) -> list[tuple[str, tuple[str, ...], bytes]]:
    return [(photo.name, photo.captions, photo.source.read()) for photo in photos]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet")


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_pictures_in_a_binary_column_are_named_by_file_and_row(tmp_path: Path, binary: Any) -> None:
    path = write(tmp_path / "a.parquet", image=pa.array([b"0", b"1", b"2"], binary), caption=["a", "b", "c"])
    photos = load_captioned_photos(path)
    assert summary(photos) == [
        ("a.parquet#0", ("a",), b"0"),
        ("a.parquet#1", ("b",), b"1"),
        ("a.parquet#2", ("c",), b"2"),
    ]
    assert [pickle.loads(pickle.dumps(photo.source)) for photo in photos] == [
        ParquetCell(path, "image", 0, 0),
        ParquetCell(path, "image", 0, 1),
        ParquetCell(path, "image", 1, 0),
    ]


def test_pictures_as_hugging_face_has_them_are_named_by_their_path(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.parquet",
        image=hugging_face([(b"0", "a.jpg"), (b"1", None), (b"2", "c.jpg")]),
        captions=[["a", "b"], ["c"], ["d"]],
        split=["train", "validation", None],
    )
    photos = load_parquet(path)
    assert summary(photos) == [
        ("a.jpg", ("a", "b"), b"0"),
        ("train.parquet#1", ("c",), b"1"),
        ("c.jpg", ("d",), b"2"),
    ]
    assert [photo.split for photo in photos] == ["train", "dev", None]


@pytest.mark.parametrize(
    "columns",
    [
        {"image": hugging_face([(None, "a.jpg"), (None, "b/c.jpg")])},
        {"path": ["a.jpg", "b/c.jpg"]},
        {"file_name": ["a.jpg", "b/c.jpg"]},
        {"image": pa.array([{"path": "a.jpg"}, {"path": "b/c.jpg"}])},
    ],
    ids=["hugging face", "path", "file_name", "a struct of path alone"],
)
def test_pictures_may_lie_beside_the_file(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = write(tmp_path / "a.parquet", caption=["a", "b"], **columns)
    assert load_captioned_photos(path, IMAGES) == [
        CaptionedPhoto("a.jpg", ("a",), FileSource(IMAGES / "a.jpg")),
        CaptionedPhoto("b/c.jpg", ("b",), FileSource(IMAGES / "b/c.jpg")),
    ]
    with pytest.raises(CaptionsError, match="row 0: photos by name; say in which folder"):
        load_captioned_photos(path)


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    for name in ("data/1.parquet", "data/0.parquet"):
        write(tmp_path / name, image=[name.encode()], caption=[name])
    assert summary(load_captioned_photos(tmp_path)) == [
        ("0.parquet#0", ("data/0.parquet",), b"data/0.parquet"),
        ("1.parquet#0", ("data/1.parquet",), b"data/1.parquet"),
    ]


def test_a_row_for_each_caption_is_one_photo(tmp_path: Path) -> None:
    pictures = [(b"0", "a.jpg"), (b"1", "b.jpg"), (b"0", "a.jpg")]
    path = write(tmp_path / "a.parquet", image=hugging_face(pictures), caption=["a", "b", "c"])
    assert summary(load_parquet(path)) == [("a.jpg", ("a", "c"), b"0"), ("b.jpg", ("b",), b"1")]


def test_one_name_for_two_pictures_is_an_error(tmp_path: Path) -> None:
    pictures = [(b"0", "a.jpg"), (b"1", "b.jpg"), (b"2", "a.jpg")]
    path = write(tmp_path / "a.parquet", image=hugging_face(pictures), caption=["a", "b", "c"])
    with pytest.raises(CaptionsError, match=r"row 2: 'a\.jpg' was another picture"):
        load_parquet(path)


@settings(deadline=None)
@given(captions=st.lists(CAPTION, min_size=1))
def test_any_captions_survive_parquet(folder: Path, captions: list[str]) -> None:
    by_list = write(folder / "list.parquet", path=["a.jpg"], captions=[captions])
    by_row = write(folder / "row.parquet", path=["a.jpg"] * len(captions), caption=captions)
    for path in (by_list, by_row):
        (photo,) = load_captioned_photos(path, IMAGES)
        assert photo.captions == tuple(captions)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"0"]}, 'no column "caption"'),
        ({"caption": ["a"]}, 'no column "image", "path" or "file_name"; it has caption'),
        ({"image": [5], "caption": ["a"]}, '"image" is int64'),
        ({"image": [{"url": "a"}], "caption": ["a"]}, '"image" is struct'),
        ({"image": [b"0", b"1", b"2"], "caption": ["a", "b", None]}, "row 2, caption: no caption"),
        ({"image": [b"0", b"1", b"2"], "caption": ["a", "b", " "]}, "row 2, caption: the caption is empty"),
        ({"image": [b"0"], "caption": [5]}, "row 0, caption: no caption"),
        ({"image": [b"0", b"1"], "captions": [["a"], []]}, "row 1, captions: no caption"),
        ({"image": [b"0"], "captions": [["a", None]]}, r"row 0, captions\[1\]: the caption is no text"),
        ({"image": [b"0"], "caption": ["a"], "split": ["all"]}, "row 0, split: no split"),
        ({"path": ["../a.jpg"], "caption": ["a"]}, "row 0: .* leads out"),
        ({"path": ["a.jpg", None], "caption": ["a", "b"]}, "row 1: no picture, and no path"),
        ({"path": ["a.jpg", "a\0.jpg"], "caption": ["a", "b"]}, "row 1: no name for a photo"),
    ],
)
def test_what_is_malformed_is_named_by_its_row(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(CaptionsError, match=message) as caught:
        load_captioned_photos(path, IMAGES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(CaptionsError, match=r"a\.parquet: no parquet file"):
        load_captioned_photos(path)


def test_an_empty_cell_and_a_file_that_is_gone_are_oserrors(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        rows_per_group=3,
        image=hugging_face([(b"0", "a.jpg"), (None, "b.jpg"), None]),
        caption=["a"] * 3,
    )
    first, second, third = (photo.source for photo in load_parquet(path))
    assert first.read() == b"0"
    for source in (second, third):
        with pytest.raises(OSError, match="holds no picture"):
            source.read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        first.read()


def test_a_rewritten_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=[b"before"], caption=["a"])
    (photo,) = load_parquet(path)
    assert photo.source.read() == b"before"
    write(path, image=[b"some time after"], caption=["a"])
    assert photo.source.read() == b"some time after"


def test_photos_read_in_order_by_many_threads_cost_few_reads_of_row_groups(tmp_path: Path) -> None:
    pictures = [bytes([number]) for number in range(40)]
    path = write(tmp_path / "a.parquet", rows_per_group=10, image=pictures, caption=["a"] * 40)
    photos = load_parquet(path)
    before = captions_parquet._read_pictures.cache_info().misses
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda photo: photo.source.read(), photos)) == pictures
    # 4, and one more each time that a thread was left behind by a busy machine
    assert 4 <= captions_parquet._read_pictures.cache_info().misses - before <= 8
