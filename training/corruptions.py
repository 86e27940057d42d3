"""Photos as they come when something went wrong: what an encoder is asked to see through, three grades each.

Not training's augmentation again, so that what is measured is not what was practised: the blur is a lens out
of focus, not a Gaussian; light from behind and noise are never trained on. Darkness (training's gamma goes as
far, in mid-tones) and the mildest crop (training keeps 0.6 of a photo) are close to it: read them as such.

The idea, corruptions in grades of severity: Hendrycks and Dietterich 2019, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations (arXiv 1903.12261); for retrieval with words: Qiu et al.
2022, Benchmarking Robustness of Multimodal Image-Text Models under Distribution Shift, MMRobustness (arXiv
2212.08044). The grades are ours; lengths are meant for a shorter side of 224 px and grow with the photo.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

Corruption = Callable[[Image.Image, int, np.random.Generator], Image.Image]
"""An RGB photo and its severity to a new RGB photo; what is left to chance comes from the generator."""

SEVERITIES = (1, 2, 3)
LENGTHS_ARE_FOR_PX = 224

EXPOSURE = {1: 2, 2: 3, 3: 4}  # stops too dark
DEFOCUS_RADIUS_PX = {1: 2.0, 2: 4.0, 3: 6.0}
WAY_TO_A_SILHOUETTE = {1: 0.45, 2: 0.65, 3: 0.85}
AREA_LEFT = {1: 0.7, 2: 0.5, 3: 0.35}
NOISE_SIGMA = {1: 0.08, 2: 0.12, 3: 0.18}  # Hendrycks and Dietterich's Gaussian noise; white is 1


def corrupt(image: Image.Image, name: str, severity: int, seed: int) -> Image.Image:
    """Return an RGB photo with one thing wrong with it, of the same size unless cropped; the input stays.

    Args:
        image: RGB.
        name: a key of CORRUPTIONS.
        severity: 1 to 3; a higher one does the same, further.
        seed: not negative. It decides where the light stands, which part is left, which noise; the same seed
            gives the same bytes, so take another for each photo.

    Raises:
        ValueError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"no corruption is called {name!r}; there are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity}; it is 1, 2 or 3")
    return CORRUPTIONS[name](image, severity, np.random.default_rng(seed))


def _dark(image: Image.Image, severity: int, _rng: np.random.Generator) -> Image.Image:
    """Expose it too short: each stop halves the light, which sRGB writes with a gamma of about 2.2."""
    share = 2 ** (-EXPOSURE[severity] / 2.2)
    return image.point([round(value * share) for value in range(256)] * 3)


def _blurred(image: Image.Image, severity: int, _rng: np.random.Generator) -> Image.Image:
    """Spread each point over a disc, as a lens out of focus does; beyond the edge the edge goes on."""
    radius = DEFOCUS_RADIUS_PX[severity] * _scale(image)
    reach = math.floor(radius)
    pixels = np.asarray(image, dtype=np.int64)
    padded = np.pad(pixels, ((reach, reach), (reach + 1, reach), (0, 0)), mode="edge")
    until = padded.cumsum(axis=1)  # sums of a row's stretch are differences of these: whole numbers, exact
    height, width = pixels.shape[:2]
    total, points = np.zeros_like(pixels), 0
    for down in range(-reach, reach + 1):
        half = math.floor(math.sqrt(radius**2 - down**2))
        row = until[reach + down : reach + down + height]
        total += row[:, reach + 1 + half :][:, :width] - row[:, reach - half :][:, :width]
        points += 2 * half + 1
    return Image.fromarray(((total + points // 2) // points).astype(np.uint8))


def _backlit(image: Image.Image, severity: int, rng: np.random.Generator) -> Image.Image:
    """Go part of the way to a silhouette: a light behind, in the upper half, and the rest far too dark."""
    width, height = image.size
    across, down = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    x = (np.arange(width) + 0.5) / width - across
    y = (np.arange(height) + 0.5) / height - down
    glare = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / (2 * 0.25**2))[:, :, None]  # (height, width, 1)
    pixels = np.asarray(image, dtype=np.float64)
    silhouette = glare * 255 + (1 - glare) * 0.12 * pixels
    return _picture(pixels + WAY_TO_A_SILHOUETTE[severity] * (silhouette - pixels))


def _cropped(image: Image.Image, severity: int, rng: np.random.Generator) -> Image.Image:
    """Leave a part of the photo's own shape, anywhere in it; a severer one lies inside a milder one."""
    side = math.sqrt(AREA_LEFT[severity])
    ends = []
    for length, place in zip(image.size, rng.random(2), strict=True):
        start = place * (1 - side) * length
        ends.append((round(start), round(start + side * length)))  # a pixel at least, from 0.25 on
    (left, right), (upper, lower) = ends
    return image.crop((left, upper, right, lower))


def _noisy(image: Image.Image, severity: int, rng: np.random.Generator) -> Image.Image:
    """Add Gaussian noise, in grains that grow with the photo: finer ones would be gone once it is resized."""
    grain = max(1, round(_scale(image)))
    width, height = image.size
    noise = rng.standard_normal((-(-height // grain), -(-width // grain), 3))
    noise = noise.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
    return _picture(np.asarray(image, dtype=np.float64) + 255 * NOISE_SIGMA[severity] * noise)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {"dark": _dark, "blurred": _blurred, "backlit": _backlit, "cropped": _cropped, "noisy": _noisy}
)


def _scale(image: Image.Image) -> float:
    return min(image.size) / LENGTHS_ARE_FOR_PX


def _picture(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
