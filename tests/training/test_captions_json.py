import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_captions import CAPTION
from training.captions import load_captioned_photos
from training.captions_json import load_coco_captions, load_karpathy_split
from training.errors import CaptionsError
from training.photos import CaptionedPhoto, FileSource

IMAGES = Path("photos")
CAPTIONS = st.lists(CAPTION, min_size=1)


def photo(name: str, *captions: str, split: str | None = None) -> CaptionedPhoto:
    return CaptionedPhoto(name, captions, FileSource(IMAGES / name), split)


def write(folder: Path, document: object) -> Path:
    path = folder / "captions.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def coco(images: list[Any], *annotations: Any) -> dict[str, Any]:
    return {"info": {}, "images": images, "annotations": list(annotations)}


def image(**fields: Any) -> dict[str, Any]:
    return {"filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dog"}], **fields}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captions")


def test_coco_is_read_in_the_order_of_its_images_without_those_nobody_describes(folder: Path) -> None:
    document = coco(
        [
            {"id": 7, "file_name": "b.jpg"},
            {"id": 3, "file_name": "sub/a.jpg"},
            {"id": 5, "file_name": "c.jpg"},
        ],
        {"id": 1, "image_id": 3, "caption": "a dog\n"},
        {"id": 2, "image_id": 7, "caption": " a cat "},
        {"id": 0, "image_id": 3, "caption": "a brown dog"},
    )
    expected = [photo("b.jpg", "a cat"), photo("sub/a.jpg", "a dog", "a brown dog")]
    assert load_coco_captions(write(folder, document), IMAGES) == expected
    assert load_captioned_photos(write(folder, document), IMAGES) == expected


def test_two_ids_of_one_file_are_one_photo(folder: Path) -> None:
    document = coco(
        [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "a.jpg"}],
        {"image_id": "1", "caption": "second"},
        {"image_id": 1, "caption": "first"},
    )
    assert load_coco_captions(write(folder, document), IMAGES) == [photo("a.jpg", "first", "second")]


@pytest.mark.parametrize(
    ("said", "split"),
    [("train", "train"), ("restval", "train"), ("val", "dev"), ("test", "test"), (None, None)],
)
def test_karpathys_splits_are_ours(folder: Path, said: str | None, split: str | None) -> None:
    path = write(folder, {"dataset": "flickr8k", "images": [image(split=said)]})
    assert load_karpathy_split(path, IMAGES) == [photo("a.jpg", "a dog", split=split)]
    assert load_captioned_photos(path, IMAGES) == [photo("a.jpg", "a dog", split=split)]


def test_karpathys_coco_lies_in_folders(folder: Path) -> None:
    path = write(folder, {"images": [image(filepath="val2014")]})
    assert load_karpathy_split(path, IMAGES) == [photo("val2014/a.jpg", "a dog", split="train")]


@settings(deadline=None)
@given(captions=CAPTIONS, ascii_only=st.booleans(), bom=st.sampled_from(["", "\ufeff"]))
def test_any_captions_survive_json(folder: Path, captions: list[str], ascii_only: bool, bom: str) -> None:
    of_coco = coco(
        [{"id": 1, "file_name": "a.jpg"}], *({"image_id": 1, "caption": caption} for caption in captions)
    )
    of_karpathy = {"images": [image(sentences=[{"raw": caption} for caption in captions])]}
    for document, split in ((of_coco, None), (of_karpathy, "train")):
        path = write(folder, bom + json.dumps(document, ensure_ascii=ascii_only))
        assert load_captioned_photos(path, IMAGES) == [photo("a.jpg", *captions, split=split)]


A = {"id": 1, "file_name": "a.jpg"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "line 1: no JSON"),
        ('{"images":\n\n [}', "line 3: no JSON"),
        ("[" * 100_000, "no JSON"),
        ("9" * 10_000, "no JSON"),
        ("[1]", r"\$: no object"),
        ({"photos": []}, r"\$: neither COCO"),
        ({"annotations": []}, r"\$\.images: missing"),
        ({"images": {}, "annotations": []}, r"\$\.images: no list"),
        (coco([A, 5]), r"\$\.images\[1\]: no object"),
        (coco([{"id": 1}]), r"\$\.images\[0\]\.file_name: missing"),
        (coco([{"file_name": "a.jpg"}]), r"\$\.images\[0\]\.id: missing"),
        (coco([{"id": 1.5, "file_name": "a.jpg"}]), r"\$\.images\[0\]\.id: no number or string"),
        (coco([A, A]), r"\$\.images\[1\]\.id: 1 is another"),
        (coco([{"id": 1, "file_name": "../a.jpg"}]), r"\$\.images\[0\]\.file_name: .* leads out"),
        (coco([{"id": 1, "file_name": ""}]), r"\$\.images\[0\]\.file_name: no name"),
        (coco([A], {"image_id": 2, "caption": "a"}), r"\$\.annotations\[0\]\.image_id: no image"),
        (coco([A], {"image_id": 1}), r"\$\.annotations\[0\]\.caption: missing"),
        (coco([A], {"image_id": 1, "caption": " "}), r"\$\.annotations\[0\]\.caption: .* empty"),
        (coco([A], {"image_id": 1, "caption": "\ud800"}), r"\$\.annotations\[0\]\.caption: .* no text"),
        ({"images": [image(), image(sentences=[])]}, r"\$\.images\[1\]\.sentences: no caption"),
        ({"images": [image(sentences=["a"])]}, r"\$\.images\[0\]\.sentences\[0\]: no object"),
        ({"images": [image(sentences=[{"tokens": []}])]}, r"sentences\[0\]\.raw: missing"),
        ({"images": [image(sentences=[{"raw": ""}])]}, r"sentences\[0\]: the caption is empty"),
        ({"images": [image(split="holdout")]}, r"\$\.images\[0\]\.split: no split that we know"),
        ({"images": [image(filename=None)]}, r"\$\.images\[0\]\.filename: no string"),
        ({"images": [image(filepath="..")]}, r"\$\.images\[0\]\.filename: .* leads out"),
        ({"images": [image(), image(split="val")]}, r"\$\.images\[1\]: 'a.jpg' is for dev here, for train"),
    ],
    ids=str,
)
def test_what_is_malformed_is_named_by_its_path(folder: Path, document: object, message: str) -> None:
    path = write(folder, document)
    with pytest.raises(CaptionsError, match=message) as caught:
        load_captioned_photos(path, IMAGES)
    assert str(path) in str(caught.value)
