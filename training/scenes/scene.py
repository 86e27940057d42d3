"""What a scene is made of, and which scenes are for training; words and pixels are next door."""

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Thing = Literal[
    "ball", "box", "star", "heart", "moon", "tree", "house", "boat", "fish", "flower", "cat", "umbrella"
]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black"]
Count = Literal[1, 2, 3]
Relation = Literal["left of", "above"]
"""Where the first group stands to the second; right of and below are the same pictures told the other way."""
Place = Literal["day", "night", "sea", "meadow", "desert", "snow", "sunset", "rain"]

THINGS: tuple[Thing, ...] = get_args(Thing)
COLOURS: tuple[Colour, ...] = get_args(Colour)
COUNTS: tuple[Count, ...] = get_args(Count)
RELATIONS: tuple[Relation, ...] = get_args(Relation)
PLACES: tuple[Place, ...] = get_args(Place)

HELD_OUT_ONE_IN = 5


@dataclass(frozen=True, slots=True)
class Group:
    """One to three of the same thing in the same colour."""

    count: Count
    colour: Colour
    thing: Thing


@dataclass(frozen=True, slots=True)
class Scene:
    """Two groups of different things, the first left of or above the second, in one place."""

    first: Group
    relation: Relation
    second: Group
    place: Place


def gallery(n: int, seed: int) -> list[Scene]:
    """Return n distinct held-out scenes, the same for the same seed; none of them is ever trained on."""
    return _distinct_scenes(n, seed, held_out=True)


def training_scenes(n: int, seed: int) -> list[Scene]:
    """Return n distinct scenes to train on, the same for the same seed; none of them is in any gallery."""
    return _distinct_scenes(n, seed, held_out=False)


def is_held_out(scene: Scene) -> bool:
    """Say whether a scene is for galleries (one in five) rather than for training.

    The colours and things of the two groups decide, in either order: so the split holds for every n and seed,
    and a gallery shows pairs that training never does. Every word is known, the combination is new.
    """
    pair = sorted(f"{group.colour} {group.thing}" for group in (scene.first, scene.second))
    return zlib.crc32(" and ".join(pair).encode()) % HELD_OUT_ONE_IN == 0


def _distinct_scenes(n: int, seed: int, *, held_out: bool) -> list[Scene]:
    rng = np.random.default_rng(seed)
    scenes: dict[Scene, None] = {}  # an ordered set
    while len(scenes) < n:
        scene = _random_scene(rng)
        if is_held_out(scene) is held_out:
            scenes[scene] = None
    return list(scenes)


def _random_scene(rng: np.random.Generator) -> Scene:
    first_thing, second_thing = rng.choice(len(THINGS), size=2, replace=False)
    return Scene(
        first=_random_group(rng, THINGS[first_thing]),
        relation=RELATIONS[rng.integers(len(RELATIONS))],
        second=_random_group(rng, THINGS[second_thing]),
        place=PLACES[rng.integers(len(PLACES))],
    )


def _random_group(rng: np.random.Generator, thing: Thing) -> Group:
    return Group(COUNTS[rng.integers(len(COUNTS))], COLOURS[rng.integers(len(COLOURS))], thing)
