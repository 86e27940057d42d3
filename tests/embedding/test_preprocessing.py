"""Preprocessing gives a checkpoint the very numbers that transformers would give it."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from embedding.errors import EncoderUnavailableError
from embedding.preprocessing import Preprocessing, preprocess, preprocess_one

PROCESSORS = {
    "clip": CLIPImageProcessorPil(),
    "siglip": SiglipImageProcessorPil(),
    "vit": ViTImageProcessorPil(),
    "crop smaller than the edge": CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 49}
    ),
    "crop larger than the edge": CLIPImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 64, "width": 55}
    ),
    "not square": SiglipImageProcessorPil(
        size={"height": 48, "width": 80}, resample=Image.Resampling.LANCZOS
    ),
    "raw samples": SiglipImageProcessorPil(do_rescale=False, do_normalize=False),
}
CLIP = Preprocessing.from_processor(PROCESSORS["clip"].to_dict())
SIGLIP = Preprocessing.from_processor(PROCESSORS["siglip"].to_dict())
LETTERBOX = Preprocessing((64, 96), "longest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize(
    "size", [(1, 1), (224, 224), (640, 480), (333, 500), (223, 225), (31, 400), (400, 31), (2, 9), (50, 50)]
)
def test_every_picture_becomes_what_transformers_makes_of_it(
    processor: object, size: tuple[int, int]
) -> None:
    expected = processor(noise(*size), return_tensors="np")["pixel_values"]
    preprocessing = Preprocessing.from_processor(processor.to_dict())
    given_back = preprocess([noise(*size)], preprocessing)
    assert given_back.dtype == np.float32
    assert np.array_equal(given_back, expected)


@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_shape_up_to_16_to_1_equals_transformers(width: int, height: int, seed: int) -> None:
    width, height = min(width, 16 * height), min(height, 16 * width)
    expected = PROCESSORS["clip"](noise(width, height, seed), return_tensors="np")["pixel_values"]
    assert np.array_equal(preprocess([noise(width, height, seed)], CLIP), expected)


@pytest.mark.parametrize("size", [(5, 200), (200, 5), (4, 201), (201, 4)])
def test_a_longer_picture_is_nearly_what_transformers_makes_of_it(size: tuple[int, int]) -> None:
    smooth = noise(3, 3).resize(size, Image.Resampling.BICUBIC)
    expected = PROCESSORS["clip"](smooth, return_tensors="np")["pixel_values"]
    level = 1 / 255 / min(CLIP.std)
    assert np.abs(preprocess([smooth], CLIP) - expected).max() <= 3 * level


@pytest.mark.parametrize("size", [(1, 16_384), (16_384, 1)])
@pytest.mark.parametrize("preprocessing", [CLIP, SIGLIP, LETTERBOX])
def test_a_line_of_pixels_is_never_blown_up(
    size: tuple[int, int], preprocessing: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize = Image.Image.resize
    asked: list[int] = []

    def watched(image: Image.Image, size: tuple[int, int], resample: int) -> Image.Image:
        asked.append(size[0] * size[1])
        return resize(image, size, resample) if asked[-1] < 1_000_000 else Image.new("RGB", (1, 1))

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert preprocess([noise(*size)], preprocessing).shape == (1, 3, *preprocessing.size_px)
    assert max(asked) < 1_000_000


def test_longest_shows_the_whole_picture_on_black() -> None:
    wide = preprocess([Image.new("RGB", (300, 100), "white")], LETTERBOX)[0]
    assert np.array_equal(wide[0].any(axis=1).nonzero()[0], np.arange(16, 48))
    assert wide[:, 16:48].min() == 1
    tall = preprocess([Image.new("RGB", (10, 20), "white")], LETTERBOX)[0]
    assert np.array_equal(tall[0].any(axis=0).nonzero()[0], np.arange(32, 64))


def test_a_batch_is_its_pictures_one_by_one_also_from_threads() -> None:
    images = [noise(40 + 13 * i, 90 - 5 * i, i) for i in range(8)]
    together = preprocess(images, CLIP)
    alone = np.empty_like(together)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: preprocess_one(pair[0], CLIP, pair[1]), zip(images, alone, strict=True)))
    assert np.array_equal(together, alone)
    assert preprocess([], CLIP).shape == (0, 3, 224, 224)


def test_a_picture_that_fits_is_not_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "resize", None)
    assert preprocess([noise(224, 224)], SIGLIP).shape == (1, 3, 224, 224)
    assert preprocess([noise(224, 224)], CLIP).shape == (1, 3, 224, 224)


def test_enough_pixels_are_twice_the_models() -> None:
    assert CLIP.enough_px == SIGLIP.enough_px == 448
    assert Preprocessing.from_processor(PROCESSORS["crop smaller than the edge"].to_dict()).enough_px == 128


# Reading a checkpoint's processor


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
def test_preprocessing_survives_json(processor: object) -> None:
    preprocessing = Preprocessing.from_processor(processor.to_dict())
    assert Preprocessing.from_processor(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_a_letterbox_survives_json() -> None:
    assert Preprocessing.from_processor(json.loads(json.dumps(LETTERBOX.to_dict()))) == LETTERBOX


def test_transformers_reads_what_we_write() -> None:
    for preprocessing, family in ((CLIP, CLIPImageProcessorPil), (SIGLIP, SiglipImageProcessorPil)):
        processor = family(**preprocessing.to_dict())
        expected = processor(noise(90, 70), return_tensors="np")["pixel_values"]
        assert np.array_equal(preprocess([noise(90, 70)], preprocessing), expected)


def test_the_older_form_with_bare_numbers_is_read() -> None:
    old = PROCESSORS["clip"].to_dict() | {"size": 224, "crop_size": 224}
    assert Preprocessing.from_processor(old) == CLIP
    assert Preprocessing.from_processor(PROCESSORS["siglip"].to_dict() | {"size": 224}) == SIGLIP


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"do_resize": False}, "does not resize"),
        ({"do_pad": True}, "do_pad"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"do_center_crop": False}, "size"),
        ({"size": {"height": 256, "width": 256}}, "shortest_edge"),
        ({"size": {"shortest_edge": 224, "longest_edge": 400}}, "shortest_edge"),
        ({"size": {"shortest_edge": 0}}, "shortest_edge"),
        ({"size": None}, "size"),
        ({"crop_size": None}, "crop_size"),
        ({"crop_size": {"height": 224}}, "crop_size"),
        ({"crop_pct": 0.9}, "crop"),
        ({"resample": 9}, "resample"),
        ({"resample": None}, "resample"),
        ({"image_mean": None}, "image_mean"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std"),
        ({"resize_mode": "stretch"}, "resize_mode"),
        ({"resize_mode": "squash", "size": {"height": 256, "width": 256}}, "squashes"),
    ],
)
def test_what_cannot_be_honoured_is_said(change: dict[str, object], named: str) -> None:
    with pytest.raises(EncoderUnavailableError, match=named):
        Preprocessing.from_processor(PROCESSORS["clip"].to_dict() | change)


def test_a_missing_resample_is_not_guessed() -> None:
    config = PROCESSORS["clip"].to_dict()
    del config["resample"]
    with pytest.raises(EncoderUnavailableError, match="resample"):
        Preprocessing.from_processor(config)
