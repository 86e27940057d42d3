"""The outlines of the things, as polygons in a square from -1 to 1, y pointing down."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.scenes.scene import Thing

Points = NDArray[np.float64]
"""float64 (n, 2): x, y."""
Tint = Literal["body", "light", "dark", "wood", "ink", "shine"]
"""What a part is filled with: the group's colour, a lighter or darker one, or the same on every thing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One filled polygon; outlines are drawn around those that make up the silhouette."""

    points: Points
    tint: Tint
    silhouette: bool = True


def _polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _ellipse(x: float, y: float, rx: float, ry: float, *, start: float = 0.0, stop: float = 360.0) -> Points:
    """Return points around an ellipse, angles in degrees, clockwise from three o'clock."""
    angles = np.radians(np.linspace(start, stop, 36))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _star(points: int, inner: float) -> Points:
    angles = np.pi * (np.arange(2 * points) / points - 0.5)
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles) + 0.06], axis=1)


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x / 16.5, y / 16.5 + 0.05], axis=1)


def _crescent() -> Points:
    outer = _ellipse(0.1, 0, 0.95, 0.95, start=50, stop=310)
    inner = _ellipse(0.52, 0, 0.78, 0.74, start=285, stop=75)
    return np.concatenate([outer, inner])


def _petals(count: int) -> list[Part]:
    angles = 2 * np.pi * np.arange(count) / count
    return [Part(_ellipse(0.58 * np.cos(a), 0.58 * np.sin(a), 0.4, 0.4), "body") for a in angles]


def _canopy() -> Points:
    scallops = [_ellipse(x, 0.08, 0.31, 0.16, start=360, stop=180) for x in (0.64, 0.0, -0.64)]
    return np.concatenate([_ellipse(0, 0.08, 0.95, 0.95, start=180, stop=360), *scallops])


SHAPES: dict[Thing, list[Part]] = {
    "ball": [
        Part(_ellipse(0, 0, 0.9, 0.9), "body"),
        Part(np.concatenate([_ellipse(0, -0.1, 0.88, 0.3, start=0, stop=180),
                             _ellipse(0, 0.15, 0.88, 0.3, start=180, stop=0)]), "dark", silhouette=False),
        Part(_ellipse(-0.35, -0.5, 0.2, 0.14), "shine", silhouette=False),
    ],
    "box": [
        Part(_polygon((-0.85, -0.35), (0.4, -0.35), (0.4, 0.9), (-0.85, 0.9)), "body"),
        Part(_polygon((-0.85, -0.35), (-0.4, -0.85), (0.85, -0.85), (0.4, -0.35)), "light"),
        Part(_polygon((0.4, -0.35), (0.85, -0.85), (0.85, 0.4), (0.4, 0.9)), "dark"),
    ],
    "star": [Part(_star(5, 0.45), "body")],
    "heart": [Part(_heart(), "body"), Part(_ellipse(-0.45, -0.42, 0.17, 0.13), "shine", silhouette=False)],
    "moon": [Part(_crescent(), "body")],
    "tree": [
        Part(_polygon((-0.14, 0.3), (0.14, 0.3), (0.18, 0.98), (-0.18, 0.98)), "wood"),
        Part(_polygon((0, -0.1), (0.78, 0.62), (-0.78, 0.62)), "body"),
        Part(_polygon((0, -0.55), (0.62, 0.2), (-0.62, 0.2)), "body"),
        Part(_polygon((0, -1.0), (0.46, -0.25), (-0.46, -0.25)), "light"),
    ],
    "house": [
        Part(_polygon((-0.7, -0.1), (0.7, -0.1), (0.7, 0.9), (-0.7, 0.9)), "body"),
        Part(_polygon((-0.98, -0.08), (0, -0.95), (0.98, -0.08)), "dark"),
        Part(_polygon((-0.5, 0.2), (-0.12, 0.2), (-0.12, 0.55), (-0.5, 0.55)), "shine", silhouette=False),
        Part(_polygon((0.12, 0.25), (0.5, 0.25), (0.5, 0.9), (0.12, 0.9)), "wood", silhouette=False),
    ],
    "boat": [
        Part(_polygon((-0.06, -0.95), (0.06, -0.95), (0.06, 0.4), (-0.06, 0.4)), "wood"),
        Part(_polygon((0.14, -0.9), (0.82, 0.22), (0.14, 0.22)), "light"),
        Part(_polygon((-0.14, -0.65), (-0.14, 0.22), (-0.68, 0.22)), "light"),
        Part(_polygon((-0.98, 0.36), (0.98, 0.36), (0.62, 0.9), (-0.62, 0.9)), "body"),
    ],
    "fish": [
        Part(_polygon((0.4, 0), (0.98, -0.5), (0.86, 0), (0.98, 0.5)), "dark"),
        Part(_ellipse(-0.2, 0, 0.76, 0.52), "body"),
        Part(_polygon((-0.1, 0.02), (0.25, -0.2), (0.25, 0.24)), "dark", silhouette=False),
        Part(_ellipse(-0.6, -0.12, 0.13, 0.13), "shine", silhouette=False),
        Part(_ellipse(-0.62, -0.12, 0.065, 0.065), "ink", silhouette=False),
    ],
    "flower": [*_petals(6), Part(_ellipse(0, 0, 0.34, 0.34), "dark", silhouette=False),
               Part(_ellipse(0, 0, 0.2, 0.2), "shine", silhouette=False)],
    "cat": [
        Part(_polygon((-0.82, 0.1), (-0.78, -0.95), (-0.15, -0.45)), "body"),
        Part(_polygon((0.82, 0.1), (0.78, -0.95), (0.15, -0.45)), "body"),
        Part(_ellipse(0, 0.15, 0.85, 0.72), "body"),
        Part(_polygon((-0.68, -0.42), (-0.66, -0.7), (-0.42, -0.5)), "light", silhouette=False),
        Part(_polygon((0.68, -0.42), (0.66, -0.7), (0.42, -0.5)), "light", silhouette=False),
        Part(_ellipse(-0.34, 0.02, 0.17, 0.19), "shine", silhouette=False),
        Part(_ellipse(0.34, 0.02, 0.17, 0.19), "shine", silhouette=False),
        Part(_ellipse(-0.34, 0.02, 0.07, 0.16), "ink", silhouette=False),
        Part(_ellipse(0.34, 0.02, 0.07, 0.16), "ink", silhouette=False),
        Part(_ellipse(0, 0.42, 0.32, 0.2), "light", silhouette=False),
        Part(_polygon((-0.1, 0.32), (0.1, 0.32), (0, 0.44)), "ink", silhouette=False),
    ],
    "umbrella": [
        Part(_polygon((-0.05, 0), (0.06, 0), (0.06, 0.72), (-0.05, 0.72)), "wood"),
        Part(np.concatenate([_ellipse(0.19, 0.72, 0.24, 0.24, start=180, stop=0),
                             _ellipse(0.19, 0.72, 0.12, 0.12, start=0, stop=180)]), "wood"),
        Part(_canopy(), "body"),
        Part(np.concatenate([_ellipse(0, 0.08, 0.34, 0.95, start=180, stop=360),
                             _ellipse(0, 0.08, 0.31, 0.16, start=360, stop=180)]), "light", silhouette=False),
    ],
}  # fmt: skip
"""Each thing's parts, in the order in which they are painted."""
