"""RGB pictures to the numbers a checkpoint was trained on: resize, crop or letterbox, normalise.

The same code serves training, indexing and searching, and gives what transformers' own image processors give.
Pillow resizes without the interpreter lock, so preprocess_one may run in a pool of threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding.errors import EncoderUnavailableError

ResizeMode = Literal["shortest", "squash", "longest"]
Three = tuple[float, float, float]
_LONGEST_SHAPE = 16


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a checkpoint wants its pictures; saved with it, and part of its fingerprint."""

    size_px: tuple[int, int]
    """Height and width of the model's input."""
    resize_mode: ResizeMode
    """In open_clip's words. shortest: the shorter side becomes shortest_edge_px, then the centre is
    cropped (CLIP); squash: both sides at once, whatever the shape (SigLIP, ViT); longest: all, on black."""
    mean: Three
    std: Three
    resample: int = Image.Resampling.BICUBIC
    """A PIL.Image.Resampling."""
    rescale_factor: float = 1 / 255
    """What an 8-bit sample is multiplied by before the mean is taken off."""
    shortest_edge_px: int | None = None
    """Only with shortest, and then where it is not the input's own shorter side."""

    @property
    def edge_px(self) -> int:
        """What the shorter side becomes in the resize mode shortest."""
        return self.shortest_edge_px or min(self.size_px)

    @property
    def enough_px(self) -> int:
        """The shorter side a decoded picture needs: twice the model's, so resizing has pixels to weigh."""
        return 2 * max(*self.size_px, self.edge_px)

    @classmethod
    def from_processor(cls, config: Mapping[str, object]) -> "Preprocessing":
        """Read a Hugging Face image processor's to_dict() or preprocessor_config.json, or our own to_dict().

        Our own key `resize_mode` decides where it is given; else a centre crop means shortest, none squash.

        Raises:
            EncoderUnavailableError: it asks for what is not done here, or leaves out what must be known.
        """
        unheard = {key for key, value in config.items() if key.startswith("do_") and value} - _HONOURED_STEPS
        if unheard:
            raise _cannot(f"asks for {', '.join(sorted(unheard))}, which is not done here")
        try:
            asked = msgspec.convert(dict(config), _Processor)
        except msgspec.ValidationError as error:
            raise _cannot(f"is not understood: {error}") from error
        if asked.do_resize is False or asked.crop_pct is not None:
            raise _cannot("does not resize, or crops to a fraction, which is not done here")
        size_px, resize_mode, edge_px = _read_sizes(asked)
        mean, std = _read_normalisation(asked)
        return cls(
            size_px=size_px,
            resize_mode=resize_mode,
            mean=mean,
            std=std,
            resample=int(asked.resample),
            rescale_factor=asked.rescale_factor if asked.do_rescale is not False else 1.0,
            shortest_edge_px=None if edge_px == min(size_px) else edge_px,
        )

    def to_dict(self) -> dict[str, object]:
        """Return JSON values in a Hugging Face image processor's terms; from_processor reads them back."""
        height, width = self.size_px
        size = {"height": height, "width": width}
        shortest = self.resize_mode == "shortest"
        return {
            "size": {"shortest_edge": self.edge_px} if shortest else size,
            "crop_size": size,
            "resize_mode": self.resize_mode,
            "do_resize": True,
            "do_center_crop": shortest,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "resample": int(self.resample),
            "rescale_factor": self.rescale_factor,
        }


def preprocess(images: Sequence[Image.Image], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return float32 (n, 3, height, width), normalised, for n RGB pictures of any size."""
    pixels = np.empty((len(images), 3, *preprocessing.size_px), np.float32)
    for image, out in zip(images, pixels, strict=True):
        preprocess_one(image, preprocessing, out)
    return pixels


def preprocess_one(image: Image.Image, preprocessing: Preprocessing, out: NDArray[np.float32]) -> None:
    """Write one picture's numbers into out, float32 (3, height, width); any thread may do so.

    Equal to what transformers' CLIP, SigLIP and ViT processors on Pillow make of any picture up to 16:1.
    """
    fitted = np.asarray(_fit(image if image.mode == "RGB" else image.convert("RGB"), preprocessing))
    # There are 256 samples: normalise those, in transformers' order and precision, and look the rest up.
    samples = (np.arange(256) * preprocessing.rescale_factor).astype(np.float32)
    for channel in range(3):
        mean, std = np.float32(preprocessing.mean[channel]), np.float32(preprocessing.std[channel])
        np.take((samples - mean) / std, fitted[:, :, channel], out=out[channel], mode="clip")


def _fit(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Return the picture at the input's size: resized, then its centre cropped or laid on black."""
    height, width = preprocessing.size_px
    if preprocessing.resize_mode == "shortest":
        image = _cut_long(image)
    resized = _resized_size(image, preprocessing)
    if resized != image.size:
        image = image.resize(resized, Image.Resampling(preprocessing.resample))
    if resized == (width, height):
        return image
    left, top = (resized[0] - width) // 2, (resized[1] - height) // 2
    return image.crop((left, top, left + width, top + height))  # crop() lays what lies outside in black


def _cut_long(image: Image.Image) -> Image.Image:
    """Cut a picture longer than 16:1 to its middle: else 1 × 5,000 pixels would become 224 × 1,120,000.

    Resize(box=…) of what the crop keeps would do for all shapes, but Pillow then orders its two passes
    otherwise, and pictures of 2:3 come out up to 20 levels apart.
    """
    longest = _LONGEST_SHAPE * min(image.size)
    across, down = ((side - longest) // 2 if side > longest else 0 for side in image.size)
    return image.crop((across, down, image.width - across, image.height - down)) if across or down else image


def _resized_size(image: Image.Image, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return width and height after resizing, rounded as transformers (and open_clip, for longest) round."""
    height, width = preprocessing.size_px
    if preprocessing.resize_mode == "squash":
        return width, height
    if preprocessing.resize_mode == "longest":
        ratio = max(image.width / width, image.height / height)
        return max(1, round(image.width / ratio)), max(1, round(image.height / ratio))
    edge = preprocessing.edge_px
    if image.width <= image.height:
        return edge, int(edge * image.height / image.width)
    return int(edge * image.width / image.height), edge


class _Processor(msgspec.Struct):
    """The keys of a Hugging Face image processor that matter here; None is as good as missing."""

    size: int | dict[str, int | None]
    resample: (
        Image.Resampling
    )  # no default: it differs between families, and a wrong one only lowers the scores
    crop_size: int | dict[str, int | None] | None = None
    resize_mode: ResizeMode | None = None
    do_resize: bool | None = True
    do_center_crop: bool | None = False
    do_rescale: bool | None = True
    do_normalize: bool | None = True
    rescale_factor: float = 1 / 255
    image_mean: Three | None = None
    image_std: Three | None = None
    crop_pct: float | None = None


# Any other do_… that is set would go unheard.
_HONOURED_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}


def _read_sizes(asked: _Processor) -> tuple[tuple[int, int], ResizeMode, int | None]:
    """Return the input's (height, width), the resize mode, and with shortest the resized shorter side."""
    mode: ResizeMode = asked.resize_mode or ("shortest" if asked.do_center_crop else "squash")
    if mode == "shortest":
        # A bare number means the shorter side here, and a square everywhere else: so the older checkpoints.
        size = {"shortest_edge": asked.size} if isinstance(asked.size, int) else asked.size
        edge_px = size.get("shortest_edge")
        if not edge_px or edge_px < 1 or size.get("longest_edge") or not asked.do_center_crop:
            raise _cannot(f"has a size of {asked.size} before its centre crop, not a shortest_edge alone")
        return _height_width(asked.crop_size, "crop_size"), mode, edge_px
    size_px = _height_width(asked.size, "size")
    if asked.do_center_crop and _height_width(asked.crop_size, "crop_size") != size_px:
        raise _cannot(f"squashes to {asked.size} and then crops, which is not done here")
    return size_px, mode, None


def _read_normalisation(asked: _Processor) -> tuple[Three, Three]:
    """Return mean and std; none asked for is a mean of 0 and a std of 1."""
    if asked.do_normalize is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if asked.image_mean is None or asked.image_std is None or 0 in asked.image_std:
        raise _cannot("normalises without an image_mean and an image_std other than zero")
    return asked.image_mean, asked.image_std


def _height_width(size: int | Mapping[str, int | None] | None, key: str) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else ((size or {}).get("height"), (size or {}).get("width"))
    height, width = sides
    if not height or not width or height < 1 or width < 1:
        raise _cannot(f"has a {key} of {size}, not a height and a width")
    return height, width


def _cannot(why: str) -> EncoderUnavailableError:
    return EncoderUnavailableError(f"the checkpoint's image processor {why}; choose another checkpoint")
