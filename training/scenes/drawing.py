"""A scene as a picture: a place, and stickers of the things upon it."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from training.scenes.places import Rgb, paint_place
from training.scenes.scene import Colour, Count, Group, Scene
from training.scenes.shapes import SHAPES, Points, Tint

PICTURE_SIZE_PX = 160
SUPERSAMPLING = 2  # drawn larger and reduced, because ImageDraw does not smooth edges

PAINT: dict[Colour, Rgb] = {
    "red": (222, 44, 48),
    "orange": (246, 134, 32),
    "yellow": (250, 208, 44),
    "green": (46, 156, 70),
    "blue": (38, 92, 214),
    "purple": (134, 62, 180),
    "pink": (248, 136, 190),
    "brown": (132, 82, 48),
    "white": (248, 248, 246),
    "black": (44, 44, 52),
}
SAME_ON_EVERY_THING: dict[Tint, Rgb] = {"wood": (112, 76, 54), "ink": (34, 32, 40), "shine": (255, 252, 240)}
RIM: Rgb = (255, 253, 247)
SHADOW: Rgb = (70, 70, 86)

HALF_SIZE: dict[Count, float] = {1: 0.21, 2: 0.165, 3: 0.135}  # in shares of the side
OFFSETS_IN_GROUP: dict[Count, tuple[float, ...]] = {1: (0.0,), 2: (-0.2, 0.2), 3: (-0.29, 0.0, 0.29)}


def draw(scene: Scene, rng: np.random.Generator, *, size_px: int = PICTURE_SIZE_PX) -> Image.Image:
    """Return the scene as an RGB picture, size_px square.

    What the scene leaves open (where exactly, how large, how tilted, which shade) is drawn from rng: the same
    rng state gives the same bytes, another state another picture of the same scene.
    """
    canvas = paint_place(scene.place, rng, size_px * SUPERSAMPLING)
    painter = ImageDraw.Draw(canvas)
    mirrored = bool(rng.random() < 0.5)
    for group, side in ((scene.first, -0.235), (scene.second, 0.235)):
        colour = _shade(PAINT[group.colour], float(rng.uniform(0.92, 1.06)))
        for centre in _centres(scene, group.count, side, rng):
            half = HALF_SIZE[group.count] * float(rng.uniform(0.92, 1.05))
            tilt = np.radians(rng.uniform(-7, 7))
            _paint_thing(painter, group, colour, centre, half, tilt, mirrored=mirrored)
    return canvas.reduce(SUPERSAMPLING)


def _centres(
    scene: Scene, count: Count, side: float, rng: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """Yield x, y of each thing of a group: side by side along the line that parts the two groups."""
    across_all, along_all = rng.uniform(-0.015, 0.015), rng.uniform(-0.06, 0.06) / count
    for offset in OFFSETS_IN_GROUP[count]:
        across = 0.5 + side + across_all + rng.uniform(-0.015, 0.015)
        along = 0.5 + offset + along_all + rng.uniform(-0.012, 0.012)
        yield (across, along) if scene.relation == "left of" else (along, across)


def _paint_thing(
    painter: ImageDraw.ImageDraw,
    group: Group,
    colour: Rgb,
    centre: tuple[float, float],
    half: float,
    tilt: float,
    *,
    mirrored: bool,
) -> None:
    """Paint one thing as a sticker: shadow, pale rim, parts; so white shows on snow and black at night."""
    side_px = painter.im.size[0]
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    flip = np.array([-1.0 if mirrored else 1.0, 1.0])
    parts = [
        ((part.points * flip @ turn * half + centre) * side_px, part.tint, part.silhouette)
        for part in SHAPES[group.thing]
    ]
    rim_px = max(2, round(side_px * 0.019))
    shadow = np.array([0.3, 0.55]) * rim_px
    for points, _, silhouette in parts:
        if silhouette:
            _paint_outline(painter, points + shadow, SHADOW, rim_px + 2)
    for points, _, silhouette in parts:
        if silhouette:
            _paint_outline(painter, points, RIM, rim_px)
    for points, tint, _ in parts:
        painter.polygon(_flat(points), fill=_tinted(colour, tint))


def _paint_outline(painter: ImageDraw.ImageDraw, points: Points, colour: Rgb, width_px: int) -> None:
    closed = np.concatenate([points, points[:2]])
    painter.line(_flat(closed), fill=colour, width=width_px, joint="curve")
    painter.polygon(_flat(points), fill=colour)


def _tinted(colour: Rgb, tint: Tint) -> Rgb:
    match tint:
        case "body":
            return colour
        case "light":
            return _shade(colour, 1.3)
        case "dark":
            return _shade(colour, 0.76)
        case _:
            return SAME_ON_EVERY_THING[tint]


def _shade(colour: Rgb, brightness: float) -> Rgb:
    """Return a darker colour below 1 and one mixed with white above."""
    towards, share = (0, 1 - brightness) if brightness < 1 else (255, brightness - 1)
    red, green, blue = (round(channel + (towards - channel) * share) for channel in colour)
    return red, green, blue


def _flat(points: Points) -> list[float]:
    return [float(value) for value in points.ravel()]
