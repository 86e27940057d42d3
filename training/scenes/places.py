"""The places where scenes happen: a gradient from top to bottom, and a few strokes that say what it is."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from training.scenes.scene import Place

Rgb = tuple[int, int, int]

TOP_AND_BOTTOM: dict[Place, tuple[Rgb, Rgb]] = {
    "day": ((104, 182, 240), (208, 234, 250)),
    "night": ((12, 14, 46), (54, 56, 116)),
    "sea": ((70, 178, 192), (10, 78, 124)),
    "meadow": ((172, 220, 118), (84, 158, 70)),
    "desert": ((250, 228, 168), (224, 176, 104)),
    "snow": ((214, 228, 242), (250, 252, 255)),
    "sunset": ((112, 66, 134), (255, 156, 92)),
    "rain": ((92, 104, 120), (148, 160, 172)),
}


def paint_place(place: Place, rng: np.random.Generator, side_px: int) -> Image.Image:
    """Return the empty place as an RGB picture, side_px square; rng places the strokes."""
    top, bottom = (np.array(colour, dtype=np.float64) for colour in TOP_AND_BOTTOM[place])
    column = top + (bottom - top) * np.linspace(0, 1, side_px)[:, None]  # (side, 3)
    column = np.clip(column * rng.uniform(0.95, 1.04), 0, 255).astype(np.uint8)
    pixels = np.ascontiguousarray(np.broadcast_to(column[:, None], (side_px, side_px, 3)))
    canvas = Image.fromarray(pixels)
    stroke, strokes_in_all = STROKES[place]
    pen = _Pen(canvas)
    for x, y in rng.uniform(0, 1, size=(strokes_in_all, 2)):
        stroke(pen, float(x), float(y), float(rng.uniform(0.7, 1.2)))
    return canvas


class _Pen:
    """ImageDraw in shares of the picture's side instead of pixels."""

    def __init__(self, canvas: Image.Image) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.side_px = canvas.width
        self.width_px = max(1, canvas.width // 110)

    def disc(self, x: float, y: float, radius: float, colour: Rgb) -> None:
        self.draw.ellipse(self._px(x - radius, y - radius, x + radius, y + radius), fill=colour)

    def line(self, x: float, y: float, to_x: float, to_y: float, colour: Rgb) -> None:
        self.draw.line(self._px(x, y, to_x, to_y), fill=colour, width=self.width_px)

    def arc(self, x: float, y: float, rx: float, ry: float, start: int, stop: int, colour: Rgb) -> None:
        box = self._px(x - rx, y - ry, x + rx, y + ry)
        self.draw.arc(box, start, stop, fill=colour, width=self.width_px)

    def _px(self, *shares: float) -> list[float]:
        return [share * self.side_px for share in shares]


def _cloud(pen: _Pen, x: float, y: float, size: float) -> None:
    for dx, dy, radius in ((-0.06, 0.012, 0.035), (0, 0, 0.05), (0.06, 0.014, 0.032)):
        pen.disc(x + dx * size, y + dy * size, radius * size, (240, 248, 254))


def _distant_star(pen: _Pen, x: float, y: float, size: float) -> None:
    pen.disc(x, y, 0.0065 * size, (250, 244, 205))


def _wave(pen: _Pen, x: float, y: float, size: float) -> None:
    for dx in (-0.055, 0, 0.055):
        pen.arc(x + dx * size, y, 0.0275 * size, 0.018 * size, 0, 180, (126, 204, 214))


def _tuft(pen: _Pen, x: float, y: float, size: float) -> None:
    for lean in (-0.022, 0, 0.022):
        pen.line(x, y, x + lean * size, y - 0.032 * size, (62, 132, 54))


def _dune(pen: _Pen, x: float, y: float, size: float) -> None:
    pen.arc(x, y, 0.24 * size, 0.08 * size, 205, 325, (208, 158, 92))


def _flake(pen: _Pen, x: float, y: float, size: float) -> None:
    pen.disc(x, y, 0.012 * size, (255, 255, 255))
    pen.disc(y, x, 0.009 * size, (186, 206, 230))


def _streak_of_cloud(pen: _Pen, x: float, y: float, size: float) -> None:
    for dy, half in ((0, 0.2), (0.01, 0.14)):
        pen.line(x - half * size, y + dy, x + half * size, y + dy, (255, 180, 133))


def _drop(pen: _Pen, x: float, y: float, size: float) -> None:
    pen.line(x, y, x - 0.025 * size, y + 0.08 * size, (196, 208, 222))


STROKES: dict[Place, tuple[Callable[[_Pen, float, float, float], None], int]] = {
    "day": (_cloud, 6),
    "night": (_distant_star, 30),
    "sea": (_wave, 13),
    "meadow": (_tuft, 16),
    "desert": (_dune, 13),
    "snow": (_flake, 16),
    "sunset": (_streak_of_cloud, 12),
    "rain": (_drop, 40),
}
"""What is drawn all over each place, and how often."""
