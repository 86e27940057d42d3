import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from training.scenes import draw, gallery

NAMES = st.sampled_from(list(CORRUPTIONS))
SIZES = st.one_of(
    st.tuples(st.integers(1, 300), st.integers(1, 200)),
    st.sampled_from([(1, 1), (1, 200), (300, 1), (2, 3000), (3000, 2)]),
)
DIGEST = """
import hashlib
import numpy as np
from training.corruptions import CORRUPTIONS, corrupt
from training.scenes import draw, gallery

photo = draw(gallery(1, seed=0)[0], np.random.default_rng(0))
print(hashlib.sha256(b"".join(corrupt(photo, name, 2, 5).tobytes() for name in CORRUPTIONS)).hexdigest())
"""


def photo(size_px: tuple[int, int]) -> Image.Image:
    width, height = size_px
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [draw(scene, np.random.default_rng(number)) for number, scene in enumerate(gallery(24, seed=0))]


def difference(image: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference, a crop stretched to the whole."""
    return float(
        np.abs(np.asarray(other.resize(image.size), dtype=float) - np.asarray(image, dtype=float)).mean()
    )


def test_there_are_five_corruptions() -> None:
    assert list(CORRUPTIONS) == ["dark", "blurred", "backlit", "cropped", "noisy"]


@settings(deadline=None)
@given(SIZES, NAMES, st.sampled_from(SEVERITIES), st.integers(0, 2**32))
def test_any_photo_is_corrupted_alike_twice_into_rgb_and_stays_as_it_was(
    size_px: tuple[int, int], name: str, severity: int, seed: int
) -> None:
    image = photo(size_px)
    before = image.tobytes()
    once, again = (corrupt(image, name, severity, seed) for _ in range(2))
    assert once.mode == "RGB"
    assert once is not image
    assert (once.size, once.tobytes()) == (again.size, again.tobytes())
    assert image.tobytes() == before
    if name == "cropped":
        assert 1 <= once.width <= image.width
        assert 1 <= once.height <= image.height
    else:
        assert once.size == image.size


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_differs_more(photos: list[Image.Image], name: str) -> None:
    mean = [
        np.mean(
            [difference(image, corrupt(image, name, severity, seed)) for seed, image in enumerate(photos)]
        )
        for severity in SEVERITIES
    ]
    assert mean[0] > 1
    assert mean[1] > 1.1 * mean[0]
    assert mean[2] > 1.1 * mean[1]


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "cropped"])
def test_a_higher_severity_differs_more_on_every_single_photo(photos: list[Image.Image], name: str) -> None:
    for seed, image in enumerate(photos):
        first, second, third = (
            difference(image, corrupt(image, name, severity, seed)) for severity in SEVERITIES
        )
        assert 0 < first < second < third


@pytest.mark.parametrize("name", ["backlit", "cropped", "noisy"])
def test_another_seed_gives_another_picture(photos: list[Image.Image], name: str) -> None:
    assert len({corrupt(photos[0], name, 3, seed).tobytes() for seed in range(10)}) == 10


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", DIGEST], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""


def test_dark_halves_the_light_by_stops_and_keeps_black_black() -> None:
    image = Image.new("RGB", (1, 2), (255, 255, 255))
    image.putpixel((0, 1), (0, 0, 0))
    for severity, stops in zip(SEVERITIES, (2, 3, 4), strict=True):
        pixels = np.asarray(corrupt(image, "dark", severity, 0), dtype=float)
        assert (pixels[0, 0, 0] / 255) ** 2.2 == pytest.approx(0.5**stops, rel=0.05)
        assert pixels[1].max() == 0


def test_blur_spreads_a_point_over_a_disc_and_leaves_a_plain_photo_alone() -> None:
    point = Image.new("RGB", (224, 224))
    point.putpixel((100, 60), (255, 255, 255))
    pixels = np.asarray(corrupt(point, "blurred", 3, 0))[:, :, 0]
    rows, columns = np.nonzero(pixels)
    assert len(rows) == sum(x * x + y * y <= 36 for x in range(-6, 7) for y in range(-6, 7))
    assert max((columns - 100) ** 2 + (rows - 60) ** 2) == 36
    assert len(set(pixels[rows, columns])) == 1
    plain = Image.new("RGB", (224, 300), (10, 200, 30))
    assert corrupt(plain, "blurred", 3, 0).tobytes() == plain.tobytes()


def test_backlight_brightens_the_light_and_darkens_the_rest() -> None:
    grey = Image.new("RGB", (224, 224), (128, 128, 128))
    pixels = np.asarray(corrupt(grey, "backlit", 3, 0))[:, :, 0].astype(int)
    assert pixels.max() > 220
    assert pixels.min() < 45
    assert np.unravel_index(pixels.argmax(), pixels.shape)[0] <= 112  # from above


@given(st.tuples(st.integers(1, 256), st.integers(1, 200)), st.integers(0, 2**32))
def test_a_crop_is_a_part_of_the_photo_and_severer_ones_lie_inside_milder_ones(
    size_px: tuple[int, int], seed: int
) -> None:
    width, height = size_px
    row, column = np.indices((height, width), dtype=np.uint8)
    where = np.stack([column, row, column ^ row], axis=2)  # each pixel tells where it is
    outer = 0, 0, width, height
    for severity, share in zip(SEVERITIES, (0.7, 0.5, 0.35), strict=True):
        part = np.asarray(corrupt(Image.fromarray(where), "cropped", severity, seed))
        left, upper = (int(value) for value in part[0, 0, :2])
        right, lower = left + part.shape[1], upper + part.shape[0]
        assert np.array_equal(part, where[upper:lower, left:right])
        assert outer[0] <= left < right <= outer[2]
        assert outer[1] <= upper < lower <= outer[3]
        if min(size_px) >= 20:  # below, a pixel is much
            assert part.shape[0] * part.shape[1] == pytest.approx(share * width * height, rel=0.15)
        outer = left, upper, right, lower


def test_noise_has_the_strength_it_says_and_no_bias() -> None:
    grey = Image.new("RGB", (224, 224), (128, 128, 128))
    for severity, sigma in zip(SEVERITIES, (0.08, 0.12, 0.18), strict=True):
        noise = np.asarray(corrupt(grey, "noisy", severity, 0), dtype=float) - 128
        assert noise.std() / 255 == pytest.approx(sigma, rel=0.03)
        assert abs(noise.mean()) < 0.5
    white = np.asarray(corrupt(Image.new("RGB", (64, 64), (255, 255, 255)), "noisy", 3, 0))
    assert white.min() > 20  # and none came round to black


def test_a_larger_photo_is_harmed_as_much_once_it_is_resized(photos: list[Image.Image]) -> None:
    small, large = (photos[0].resize((side, side)) for side in (224, 896))
    for name in ("blurred", "noisy"):
        harm = [
            difference(small, corrupt(image, name, 2, 0).resize(small.size, Image.Resampling.BOX))
            for image in (small, large)
        ]
        assert harm[1] == pytest.approx(harm[0], rel=0.25)


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        ("foggy", 1, "'foggy'; there are dark, blurred"),
        ("dark", 0, "severity is 0"),
        ("dark", 4, "severity is 4"),
    ],
)
def test_what_there_is_not_is_named(name: str, severity: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt(Image.new("RGB", (1, 1)), name, severity, 0)
