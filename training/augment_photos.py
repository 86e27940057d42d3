"""A photo as another camera would have taken it: nearer, darker, softer, saved worse; its captions stay true.

Hues are never turned, since captions name colours, and left and right change sides only where no caption
minds. Pillow and numpy only; every random number comes from Generator.random, whose stream numpy keeps.
"""

import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageFilter

from training.augment_captions import without_accents

Range = tuple[float, float]
"""The least and the most."""

SIGMA_IS_FOR_PX = 224
JPEG_LONGEST_SIDE_PX = 65_500  # libjpeg's own limit


@dataclass(frozen=True, slots=True)
class PhotoAugmentation:
    """How often a photo is changed (shares are probabilities) and how far (ranges).

    Raises:
        ValueError: a share is not between 0 and 1, or a range is upside down or beyond what it measures.
    """

    crop_share: float = 0.8
    crop_area: Range = (0.6, 1.0)
    """Of the photo's own area: what a caption names is seldom in the last 0.4 of it."""
    crop_aspect: Range = (3 / 4, 4 / 3)
    """The crop's width by height, where the photo's is 1: so a panorama also keeps its share of the area."""
    flip_share: float = 0.5
    colour_share: float = 0.5
    """How often brightness, contrast and saturation change, together."""
    brightness: Range = (0.75, 1.25)
    contrast: Range = (0.75, 1.25)
    saturation: Range = (0.7, 1.3)
    """Never down to grey: a red shirt stays red."""
    gamma_share: float = 0.3
    gamma: Range = (0.4, 2.5)
    """Above 1 is darker. Its logarithm is drawn from a triangle: rare at the ends."""
    blur_share: float = 0.15
    blur_sigma: Range = (0.2, 3.0)
    """In pixels of a photo whose shorter side has 224; more in a larger one, so that it looks the same."""
    jpeg_share: float = 0.3
    jpeg_quality: Range = (20, 95)

    def __post_init__(self) -> None:
        most = {"crop_area": 1.0, "jpeg_quality": 100.0}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{field.name} is {value}; a share lies between 0 and 1")
            elif not 0 < value[0] <= value[1] <= most.get(field.name, math.inf):
                raise ValueError(f"{field.name} is {value}; the least comes first, above 0")


NO_AUGMENTATION = PhotoAugmentation(
    crop_share=0, flip_share=0, colour_share=0, gamma_share=0, blur_share=0, jpeg_share=0
)


def augment_photo(
    image: Image.Image, rng: np.random.Generator, augmentation: PhotoAugmentation, *, may_flip: bool
) -> Image.Image:
    """Return an RGB photo of the same size, changed in the order of real life: framed, focused, lit, saved.

    Args:
        image: RGB; it is never changed, and comes back itself when nothing was to be done.
        rng: the same state gives the same picture, bit for bit.
        augmentation: how often and how far.
        may_flip: whether left and right may change sides; see the function of that name.
    """
    if rng.random() < augmentation.crop_share:
        image = image.resize(
            image.size, Image.Resampling.BILINEAR, box=_crop_box(image.size, rng, augmentation)
        )
    if rng.random() < augmentation.flip_share and may_flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < augmentation.blur_share:
        sigma = _within(augmentation.blur_sigma, rng.random()) * min(image.size) / SIGMA_IS_FOR_PX
        image = image.filter(ImageFilter.GaussianBlur(sigma))
    image = _in_another_light(image, rng, augmentation)
    if rng.random() < augmentation.jpeg_share and max(image.size) <= JPEG_LONGEST_SIDE_PX:
        image = _saved_as_jpeg(image, round(_within(augmentation.jpeg_quality, rng.random())))
    return image


def may_flip(captions: Sequence[str]) -> bool:
    """Say whether a photo may be mirrored with all its captions still true, in English and in Vietnamese.

    Not if one names a side, a clock, or something to be read: mirrored writing says nothing. Where a word has
    two meanings the answer is no, which costs a flip; the other mistake would teach that left is right.
    """
    return not any(_minds_a_mirror(caption) for caption in captions)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "right behind", "all right" and "left behind" forbid as well: only a reader could tell them apart.
SIDES = _words(
    "left right lefts rights leftmost rightmost lefthand righthand lefthanded righthanded lefty righty "
    "leftie lefties righties leftward leftwards rightward rightwards leftside rightside southpaw starboard "
    "larboard port portside clockwise counterclockwise anticlockwise clock clocks"
)
WRITING = _words(
    "sign signs signage signpost signposts number numbers numbered numeral numerals digit digits letter "
    "letters lettered lettering word words worded wording reads says saying said spell spells spelled spelt "
    "spelling written writing writings handwriting text texts title titled caption captioned label labels "
    "labeled labelled labeling logo logos slogan slogans inscription inscribed engraved initials monogram "
    "banner banners poster posters billboard billboards placard placards scoreboard graffiti grafitti "
    "graffitti grafiti alphabet map maps license licence"
)
# Compared without accents: people leave them out, wholly or here and there. trái is also a fruit or a ball
# (trái cây, trái bóng, trái tim), trai a boy (con trai), phải also "must": they forbid too, on the safe side.
VIETNAMESE_SIDES = frozenset({"trai", "phai"})
# Compared as typed, or without accents in a caption that has none: chú (chú chó) is not chữ, nor tắm biển a
# tấm biển. số alone is left out, since một số is "some"; the south says tay mặt and tay chiêu for its hands.
VIETNAMESE_WRITING = re.compile(
    r"\b(?:(?:tay|bên|chân) (?:mặt|chiêu)|đồng hồ|chữ|đọc|viết|ghi|nhãn|(?:con|biển|bảng|áo|mang|đeo) số"
    r"|biển (?:báo|hiệu|quảng|tên|chỉ|cấm)|(?:tấm|cái) biển|bảng (?:hiệu|tên|điểm)|biểu ngữ|áp phích"
    r"|khẩu hiệu|bản đồ)\b"
)
VIETNAMESE_WRITING_WITHOUT_ACCENTS = re.compile(without_accents(VIETNAMESE_WRITING.pattern))
QUOTATION_MARKS = frozenset('"“”„‟«»')
WORD = re.compile(r"[^\W_]+")


def _minds_a_mirror(caption: str) -> bool:
    text = " ".join(unicodedata.normalize("NFC", caption.casefold()).split())
    bare = without_accents(text)
    writing = VIETNAMESE_WRITING_WITHOUT_ACCENTS if text == bare else VIETNAMESE_WRITING
    return (
        any(character.isdecimal() or character in QUOTATION_MARKS for character in text)  # a jersey's 7
        or not (SIDES | WRITING).isdisjoint(WORD.findall(text))
        or not VIETNAMESE_SIDES.isdisjoint(WORD.findall(bare))
        or writing.search(text) is not None
    )


def _crop_box(
    size_px: tuple[int, int], rng: np.random.Generator, augmentation: PhotoAugmentation
) -> tuple[float, float, float, float]:
    """Return left, upper, right, lower in pixels; whatever the photo's shape, it holds the area drawn."""
    area = _within(augmentation.crop_area, rng.random())
    low, high = augmentation.crop_aspect
    aspect = math.exp(_within((math.log(low), math.log(high)), rng.random()))
    width_share = min(1.0, max(area, math.sqrt(area * aspect)))  # so that the height's share is at most 1
    width = size_px[0] * width_share
    height = min(size_px[1] * area / width_share, size_px[1])  # rounding may put it a trifle above the whole
    left, upper = rng.random() * (size_px[0] - width), rng.random() * (size_px[1] - height)
    return left, upper, min(left + width, size_px[0]), min(upper + height, size_px[1])


def _in_another_light(
    image: Image.Image, rng: np.random.Generator, augmentation: PhotoAugmentation
) -> Image.Image:
    """Change gamma, brightness and contrast by one table of 256 values, then saturation."""
    gamma = brightness = contrast = saturation = 1.0
    if rng.random() < augmentation.gamma_share:
        low, high = augmentation.gamma
        gamma = math.exp(_within((math.log(low), math.log(high)), (rng.random() + rng.random()) / 2))
    if rng.random() < augmentation.colour_share:
        brightness = _within(augmentation.brightness, rng.random())
        contrast = _within(augmentation.contrast, rng.random())
        saturation = _within(augmentation.saturation, rng.random())
    if (gamma, brightness, contrast) != (1.0, 1.0, 1.0):
        light = np.linspace(0.0, 1.0, 256) ** gamma * brightness
        table = np.clip(((light - 0.5) * contrast + 0.5) * 255, 0, 255).round().astype(int).tolist()
        image = image.point(table * 3)
    if saturation != 1.0:
        image = Image.blend(image.convert("L").convert("RGB"), image, saturation)
    return image


def _saved_as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as saved:
        return saved.convert("RGB")


def _within(of: Range, share: float) -> float:
    return of[0] + (of[1] - of[0]) * share
