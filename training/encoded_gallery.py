"""Captioned photos -> their embeddings, the photos decoded and encoded in blocks, never all kept."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding.encoder import Encoder
from embedding.errors import EncoderUnavailableError, ImageError
from embedding.images import decode_image
from embedding.pixel_budget import MAX_PIXELS
from embedding.preprocessing import Preprocessing
from training.evaluate import Embeddings
from training.photos import CaptionedPhoto, FileSource

PHOTOS_AT_ONCE = 64
TEXTS_AT_ONCE = 512
DECODING_THREADS = 4
ENOUGH_PX = 1024
"""Shorter side of photos decoded for an encoder that does not say what it needs."""

Key = TypeVar("Key", bound=Hashable)
Distortion = Callable[[Image.Image, int], Image.Image]
"""A picture and its photo's number -> the picture as a bad camera would have taken it."""


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """A photo that is missing or cannot be decoded, and why; the error names it too."""

    path: str
    error: str


@dataclass(frozen=True, slots=True)
class EncodedPhotos:
    """Photos that could be read; images float32 (n, d), unit rows, and so each of the distorted."""

    photos: list[CaptionedPhoto]
    images: Embeddings
    distorted: dict[tuple[str, int], Embeddings] = field(default_factory=dict)
    failed: list[FailedPhoto] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EncodedGallery:
    """Photos and all their captions, encoded."""

    encoded: EncodedPhotos
    texts: Embeddings
    """float32 (captions, d), unit rows, photo after photo."""
    photo_of_text: NDArray[np.int64]
    """int64 (captions,)."""

    @property
    def photos(self) -> list[CaptionedPhoto]:
        """The n photos."""
        return self.encoded.photos

    @property
    def images(self) -> Embeddings:
        """float32 (n, d), unit rows."""
        return self.encoded.images


def _nobody(steps: int) -> None:
    """Hear of the steps done."""


def encode_gallery(
    encoder: Encoder,
    photos: Sequence[CaptionedPhoto],
    *,
    distortions: Mapping[tuple[str, int], Distortion] | None = None,
    max_pixels: int = MAX_PIXELS,
    advance: Callable[[int], None] = _nobody,
) -> EncodedGallery:
    """Encode photos and captions; photos that cannot be read are left out, with their captions, and named.

    Args:
        encoder: whose embeddings.
        photos: each with a caption at least.
        distortions: by kind and severity; each photo is decoded once and encoded once for every one.
        max_pixels: the largest photo decoded.
        advance: told of every photo, distorted photo and caption done.
    """
    encoded = encode_photos(encoder, photos, distortions or {}, max_pixels=max_pixels, advance=advance)
    texts = [caption for photo in encoded.photos for caption in photo.captions]
    said = [len(photo.captions) for photo in encoded.photos]
    return EncodedGallery(
        encoded, encode_texts(encoder, texts, advance), np.repeat(np.arange(len(said)), said)
    )


def encode_texts(
    encoder: Encoder, texts: Sequence[str], advance: Callable[[int], None] = _nobody
) -> Embeddings:
    """Return float32 (texts, d), unit rows."""
    rows = [np.empty((0, encoder.dimension), np.float32)]
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        block = texts[start : start + TEXTS_AT_ONCE]
        rows.append(encoder.encode_texts(block))
        advance(len(block))
    return np.concatenate(rows)


def encode_photos(
    encoder: Encoder,
    photos: Sequence[CaptionedPhoto],
    distortions: Mapping[tuple[str, int], Distortion],
    *,
    max_pixels: int,
    advance: Callable[[int], None],
) -> EncodedPhotos:
    """Encode photos alone, a block being decoded while the one before is encoded; as encode_gallery."""
    readable: list[CaptionedPhoto] = []
    failed: list[FailedPhoto] = []
    nothing = np.empty((0, encoder.dimension), np.float32)
    plain = [nothing]
    distorted = {key: [nothing] for key in distortions}
    enough_px = _enough_px(encoder)
    numbered = list(enumerate(photos))
    blocks = [numbered[at : at + PHOTOS_AT_ONCE] for at in range(0, len(photos), PHOTOS_AT_ONCE)]
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as threads:
        ahead: list[tuple[int, CaptionedPhoto, Future[Image.Image | FailedPhoto]]] = []
        for block in (*blocks, []):
            ready, ahead = (
                ahead,
                [
                    (number, photo, threads.submit(_decode, photo, max_pixels, enough_px))
                    for number, photo in block
                ],
            )
            images, numbers = [], []
            for number, photo, decoding in ready:
                decoded = decoding.result()
                if isinstance(decoded, FailedPhoto):
                    failed.append(decoded)
                    continue
                readable.append(photo)
                images.append(decoded)
                numbers.append(number)
            if images:
                plain.append(encoder.encode_images(images))
            advance(len(ready))
            for key, distort in distortions.items():
                if images:
                    distorted[key].append(encoder.encode_images(list(threads.map(distort, images, numbers))))
                advance(len(ready))
    return EncodedPhotos(
        readable,
        np.concatenate(plain),
        {key: np.concatenate(rows) for key, rows in distorted.items()},
        failed,
    )


def _decode(photo: CaptionedPhoto, max_pixels: int, enough_px: int) -> Image.Image | FailedPhoto:
    path = str(photo.source.path) if isinstance(photo.source, FileSource) else photo.name
    try:
        return decode_image(photo.source.read(), name=photo.name, max_pixels=max_pixels, enough_px=enough_px)
    except OSError as error:
        return FailedPhoto(path, f"{photo.name}: {error.strerror or error}")
    except (ImageError, ValueError) as error:  # ValueError: a NUL in the name, which no path can hold
        return FailedPhoto(path, str(error))


def _enough_px(encoder: Encoder) -> int:
    try:
        return Preprocessing.from_processor(encoder.preprocessing()).enough_px
    except EncoderUnavailableError:
        return ENOUGH_PX
