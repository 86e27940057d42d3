from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.app.pictures import write_pictures
from tests.encoders import FakeEncoder
from training import encoded_gallery
from training.encoded_gallery import encode_gallery
from training.photos import CaptionedPhoto, FileSource


class WatchedEncoder(FakeEncoder):
    """Remembers how many pictures came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once: list[int] = []

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        self.at_once.append(len(images))
        return super().encode_images(images)


@pytest.fixture
def photos(tmp_path: Path) -> list[CaptionedPhoto]:
    """Seven drawn photos; photo n has n % 3 + 1 captions."""
    write_pictures(tmp_path, 7)
    return [
        CaptionedPhoto(
            path.name, tuple(f"caption {i} of {path.stem}" for i in range(n % 3 + 1)), FileSource(path)
        )
        for n, path in enumerate(sorted(tmp_path.iterdir()))
    ]


def test_photos_and_captions_are_encoded_in_their_order(photos: list[CaptionedPhoto]) -> None:
    encoder = FakeEncoder()
    gallery = encode_gallery(encoder, photos)
    assert gallery.photos == photos
    assert gallery.photo_of_text.tolist() == [0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 5, 6]
    opened = [Image.open(photo.source.path).convert("RGB") for photo in photos]  # type: ignore[attr-defined]
    assert np.allclose(gallery.images, encoder.encode_images(opened))
    assert np.allclose(gallery.texts[3], encoder.encode_texts([photos[2].captions[0]])[0])


def test_a_photo_that_cannot_be_read_is_named_and_costs_the_others_nothing(
    photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    whole = encode_gallery(FakeEncoder(), photos)
    (tmp_path / "00001.jpg").unlink()
    (tmp_path / "00004.jpg").write_bytes(b"no picture")
    nul = CaptionedPhoto("a\0b.jpg", ("no path holds NUL",), FileSource(tmp_path / "a\0b.jpg"))
    gallery = encode_gallery(FakeEncoder(), [*photos, nul])
    assert [photo.name for photo in gallery.photos] == [f"{n:05}.jpg" for n in (0, 2, 3, 5, 6)]
    assert np.array_equal(gallery.images, whole.images[[0, 2, 3, 5, 6]])
    assert len(gallery.texts) == len(gallery.photo_of_text) == 9
    assert gallery.photo_of_text.max() == 4
    named = [(Path(failed.path).name, failed.error) for failed in gallery.encoded.failed]
    assert [name for name, _ in named] == ["00001.jpg", "00004.jpg", "a\0b.jpg"]
    assert "No such file" in named[0][1]
    assert "00004.jpg: no JPEG" in named[1][1]


def test_photos_pass_in_blocks_and_every_step_is_told(
    photos: list[CaptionedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode_gallery(FakeEncoder(), photos)
    monkeypatch.setattr(encoded_gallery, "PHOTOS_AT_ONCE", 3)
    monkeypatch.setattr(encoded_gallery, "TEXTS_AT_ONCE", 4)
    encoder, steps = WatchedEncoder(), []
    gallery = encode_gallery(
        encoder, photos, distortions={("grey", 1): lambda image, _: image.convert("L")}, advance=steps.append
    )
    assert encoder.at_once == [3, 3, 3, 3, 1, 1]
    assert sum(steps) == 7 + 7 + 13
    assert np.array_equal(gallery.images, whole.images)
    assert np.array_equal(gallery.texts, whole.texts)


def test_distortions_are_given_the_photos_number_and_keep_the_photos_apart(
    photos: list[CaptionedPhoto], tmp_path: Path
) -> None:
    (tmp_path / "00002.jpg").unlink()
    seen: list[int] = []

    def upside_down(image: Image.Image, number: int) -> Image.Image:
        seen.append(number)
        return image.transpose(Image.Transpose.ROTATE_180)

    gallery = encode_gallery(FakeEncoder(), photos, distortions={("turned", 2): upside_down})
    assert sorted(seen) == [0, 1, 3, 4, 5, 6]
    turned = gallery.encoded.distorted["turned", 2]
    assert turned.shape == gallery.images.shape
    assert not np.allclose(turned, gallery.images)


def test_no_readable_photo_is_an_empty_gallery(tmp_path: Path) -> None:
    gallery = encode_gallery(FakeEncoder(), [CaptionedPhoto("x", ("y",), FileSource(tmp_path / "x"))])
    assert gallery.images.shape == gallery.texts.shape == (0, 64)
    assert len(gallery.encoded.failed) == 1
