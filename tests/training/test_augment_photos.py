import unicodedata
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.augment_captions import without_accents
from training.augment_photos import (
    NO_AUGMENTATION,
    PhotoAugmentation,
    _crop_box,
    augment_photo,
    may_flip,
)
from training.scenes import captions_of, draw, gallery

ALWAYS = PhotoAugmentation(
    crop_share=1, flip_share=1, colour_share=1, gamma_share=1, blur_share=1, jpeg_share=1
)
SIZES = st.one_of(
    st.tuples(st.integers(1, 300), st.integers(1, 200)),
    st.sampled_from([(1, 1), (1, 200), (300, 1), (2, 3000), (3000, 2)]),
)


def photo(size_px: tuple[int, int], seed: int = 0) -> Image.Image:
    width, height = size_px
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def drawn(seed: int = 0) -> Image.Image:
    return draw(gallery(1, seed=seed)[0], np.random.default_rng(seed))


def brightness(image: Image.Image) -> float:
    return float(np.asarray(image).mean())


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32), st.sampled_from([PhotoAugmentation(), ALWAYS]), st.booleans())
def test_any_photo_keeps_its_size_and_mode_and_is_never_changed_itself(
    size_px: tuple[int, int], seed: int, augmentation: PhotoAugmentation, mirrored: bool
) -> None:
    image = photo(size_px)
    before = image.tobytes()
    augmented = augment_photo(image, np.random.default_rng(seed), augmentation, may_flip=mirrored)
    assert (augmented.size, augmented.mode) == (size_px, "RGB")
    assert image.tobytes() == before


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32))
def test_the_same_rng_gives_the_same_picture_bit_for_bit(size_px: tuple[int, int], seed: int) -> None:
    image = photo(size_px)
    once, again = (
        augment_photo(image, np.random.default_rng(seed), ALWAYS, may_flip=True).tobytes() for _ in range(2)
    )
    assert once == again


def test_another_rng_gives_another_picture() -> None:
    image = drawn()
    pictures = {
        augment_photo(image, np.random.default_rng(seed), ALWAYS, may_flip=True).tobytes()
        for seed in range(20)
    }
    assert len(pictures) == 20


@given(SIZES, st.integers(0, 2**32))
def test_no_augmentation_gives_the_photo_itself_back(size_px: tuple[int, int], seed: int) -> None:
    image = photo(size_px)
    assert augment_photo(image, np.random.default_rng(seed), NO_AUGMENTATION, may_flip=True) is image


def test_a_photo_is_mirrored_half_the_time_but_never_where_that_is_forbidden() -> None:
    image = drawn()
    only_flips = replace(NO_AUGMENTATION, flip_share=0.5)
    rng = np.random.default_rng(0)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()
    seen = [augment_photo(image, rng, only_flips, may_flip=True).tobytes() for _ in range(400)]
    assert set(seen) == {image.tobytes(), mirrored}
    assert 150 < seen.count(mirrored) < 250
    assert all(augment_photo(image, rng, only_flips, may_flip=False) is image for _ in range(50))


@given(SIZES, st.integers(0, 2**32))
def test_a_crop_lies_in_the_photo_and_keeps_the_area_asked_for_whatever_its_shape(
    size_px: tuple[int, int], seed: int
) -> None:
    left, upper, right, lower = _crop_box(size_px, np.random.default_rng(seed), PhotoAugmentation())
    width, height = size_px
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    shares = (right - left) / width, (lower - upper) / height
    assert 0.6 - 1e-9 <= shares[0] * shares[1] <= 1 + 1e-9
    assert 3 / 4 - 1e-9 <= shares[0] / shares[1] <= 4 / 3 + 1e-9


@pytest.mark.parametrize("aspect", [(0.01, 0.02), (50.0, 90.0)])
def test_no_aspect_takes_a_crop_out_of_the_photo(aspect: tuple[float, float]) -> None:
    asked = replace(PhotoAugmentation(), crop_aspect=aspect)
    for seed in range(200):
        left, upper, right, lower = _crop_box((224, 224), np.random.default_rng(seed), asked)
        assert 0 <= left < right <= 224
        assert 0 <= upper < lower <= 224
        assert (right - left) * (lower - upper) >= 0.6 * 224**2 - 1e-6


def test_gamma_darkens_and_brightens_alike_and_is_rare_at_its_ends() -> None:
    only_gamma = replace(NO_AUGMENTATION, gamma_share=1)
    grey = Image.new("RGB", (1, 1), (128, 128, 128))
    rng = np.random.default_rng(0)
    values = [
        np.log(augment_photo(grey, rng, only_gamma, may_flip=True).getpixel((0, 0))[0] / 255)  # type: ignore[index]
        for _ in range(2000)
    ]
    gammas = np.array(values) / np.log(128 / 255)
    assert 0.39 < gammas.min() < 0.5
    assert 2 < gammas.max() < 2.53
    assert 0.45 < (gammas > 1).mean() < 0.55
    assert (np.abs(np.log(gammas)) > 0.8 * np.log(2.5)).mean() < 0.06  # 0.04 of a triangle, 0.2 of a block


@pytest.mark.parametrize(
    ("one", "measure"),
    [
        ({"brightness": (0.5, 0.5)}, lambda image: -brightness(image)),
        ({"contrast": (0.5, 0.5)}, lambda image: -float(np.asarray(image).std())),
        ({"saturation": (0.5, 0.5)}, lambda image: -float(np.ptp(np.asarray(image), axis=2).mean())),
    ],
    ids=["brightness", "contrast", "saturation"],
)
def test_a_lower_setting_gives_less_of_it(
    one: dict[str, tuple[float, float]], measure: Callable[[Image.Image], float]
) -> None:
    still = replace(NO_AUGMENTATION, colour_share=1, brightness=(1, 1), contrast=(1, 1), saturation=(1, 1))
    image = drawn()
    assert augment_photo(image, np.random.default_rng(0), still, may_flip=True).tobytes() == image.tobytes()
    less = augment_photo(image, np.random.default_rng(0), replace(still, **one), may_flip=True)
    assert measure(less) > measure(image)


def test_colour_keeps_red_red() -> None:
    only_colour = replace(NO_AUGMENTATION, colour_share=1, gamma_share=1)
    for seed in range(200):
        shirt = Image.new("RGB", (8, 8), (200, 40, 40))
        red, green, blue = np.asarray(
            augment_photo(shirt, np.random.default_rng(seed), only_colour, may_flip=True)
        )[0, 0].astype(int)
        assert red > green + 20
        assert abs(green - blue) <= 1


def test_blur_takes_detail_away_and_looks_the_same_on_a_larger_photo() -> None:
    blurred = replace(NO_AUGMENTATION, blur_share=1, blur_sigma=(3, 3))
    small, large = (drawn().resize((side, side)) for side in (224, 896))
    soft, soft_large = (
        augment_photo(image, np.random.default_rng(0), blurred, may_flip=True) for image in (small, large)
    )
    detail = [float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean()) for image in (small, soft)]
    assert detail[1] < detail[0] / 1.5
    gap = np.abs(np.asarray(soft_large.resize((224, 224)), float) - np.asarray(soft, float)).mean()
    assert gap < 1.5


def test_a_lower_jpeg_quality_harms_more() -> None:
    image = drawn()

    def harm(quality: int) -> float:
        saved = replace(NO_AUGMENTATION, jpeg_share=1, jpeg_quality=(quality, quality))
        augmented = augment_photo(image, np.random.default_rng(0), saved, may_flip=True)
        return float(np.abs(np.asarray(augmented, float) - np.asarray(image, float)).mean())

    assert 0 < harm(95) < harm(20)


def test_a_photo_too_long_for_jpeg_is_not_saved_as_one() -> None:
    saved = replace(NO_AUGMENTATION, jpeg_share=1)
    image = Image.new("RGB", (65_501, 1))
    assert augment_photo(image, np.random.default_rng(0), saved, may_flip=True) is image


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_share": 1.1},
        {"flip_share": -0.1},
        {"flip_share": float("nan")},
        {"crop_area": (0.9, 0.6)},
        {"crop_area": (0.5, 1.5)},
        {"gamma": (0.0, 1.0)},
        {"jpeg_quality": (20, 101)},
    ],
)
def test_a_setting_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(PhotoAugmentation(), **wrong)


MAY = [
    "a dog runs on the beach",
    "A brightly lit street at night",
    "a copyrighted photo of an upright piano",
    "the cleft of a cliff",
    "Two boys resign from the fight",
    "một con chó chạy trên bãi biển",
    "chú chó và chú mèo trên ghế",
    "một số người mặc áo sơ mi tắm biển",
    "hai người đàn ông bên cạnh chiếc xe",
    "mot nguoi phu nu ngoi ben canh con meo",
    "",
]
MAY_NOT = [
    "a man on the left",
    "Dog to the RIGHT of a tree.",
    "the right-hand lane",
    "the leftmost of three boys",
    "A girl rights her boat",
    "a left-handed batter",
    "the dog right behind him",  # on the safe side
    "all right",
    "running counter-clockwise around a track",
    "boys under a clock",
    "a stop sign",
    "a jersey with the number seven",
    "player 7 kicks the ball",
    "the letters on the wall",
    "a shirt that reads love",
    "a shirt that says love",
    'a bus marked "express"',
    "con mèo ở bên trái",
    "cầm vợt tay phải",
    "PHẢI có một con mèo",
    "mot nguoi o ben trai",
    "cam vot tay phai",
    "người đàn ông ở ben trai chiếc xe",
    "một trái bóng",  # on the safe side, as are the next three
    "một giỏ trái cây",
    "một người con trai",
    "anh ấy phải chạy",
    "quẹo tay mặt",
    "chiếc áo có chữ",
    "chiec ao co chu",
    "người đọc sách",
    "biển quảng cáo",
    "tấm  biển",
    "áo số bảy",
    "đồng hồ trên tường",
]


@pytest.mark.parametrize("caption", MAY)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_photo_whose_captions_name_no_side_and_no_writing_may_be_mirrored(caption: str, form: str) -> None:
    assert may_flip([unicodedata.normalize(form, caption)])


@pytest.mark.parametrize("caption", MAY_NOT)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_photo_whose_caption_names_a_side_or_writing_may_not(caption: str, form: str) -> None:
    typed = unicodedata.normalize(form, caption)
    assert not may_flip([typed])
    assert not may_flip([typed.upper()])
    assert not may_flip(["a dog", typed, "a cat"])


@pytest.mark.parametrize("caption", [caption for caption in MAY_NOT if not caption.isascii()])
def test_leaving_the_accents_out_never_frees_a_caption(caption: str) -> None:
    assert not may_flip([without_accents(caption)])


@given(
    st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc", "Me"])),
    st.sampled_from(["left", "RIGHT", "trái", "Phải", "phai", "clockwise"]),
)
def test_no_text_around_a_side_hides_it(text: str, side: str) -> None:
    assert not may_flip([f"{text} {side} {text}"])


def test_every_drawn_scene_that_names_a_side_is_recognised() -> None:
    for scene in gallery(200, seed=0):
        captions = [caption.body for caption in captions_of(scene)]
        named = any(word in caption.split() for caption in captions for word in ("left", "right"))
        assert not (named and may_flip(captions))


def test_a_photo_without_captions_may_be_mirrored() -> None:
    assert may_flip([])
