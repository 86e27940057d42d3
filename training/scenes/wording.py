"""A scene in words: full captions that name everything in it, and short phrases as people type them."""

from dataclasses import dataclass
from typing import Literal

from training.scenes.scene import Colour, Count, Group, Place, Relation, Scene, Thing

Language = Literal["en", "vi"]


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence about a picture; NFC, lower case, no full stop."""

    language: Language
    body: str


def captions_of(scene: Scene) -> list[Caption]:
    """Return three English and three Vietnamese captions; each one alone names all there is in the scene."""
    return [
        *(Caption("en", body) for body in _english_captions(scene)),
        *(Caption("vi", body) for body in _vietnamese_captions(scene)),
    ]


def phrases_of(scene: Scene) -> list[Caption]:
    """Return what is true of the scene but leaves much out: a thing, a group, the place, a group there."""
    groups = (scene.first, scene.second)
    english, vietnamese = ENGLISH_PLACES[scene.place], VIETNAMESE_PLACES[scene.place]
    return [
        *(Caption("en", ENGLISH_THINGS[group.thing][0][group.count > 1]) for group in groups),
        *(Caption("en", _english(group, 0)) for group in groups),
        *(Caption("en", f"{_english(group, 1)} {english[0]}") for group in groups),
        Caption("en", english[1]),
        *(Caption("vi", VIETNAMESE_THINGS[group.thing][0]) for group in groups),
        *(Caption("vi", _vietnamese(group, 0)) for group in groups),
        *(Caption("vi", f"{_vietnamese(group, 1)} {vietnamese[0]}") for group in groups),
        Caption("vi", vietnamese[1]),
    ]


ENGLISH_COUNTS: dict[Count, str] = {1: "one", 2: "two", 3: "three"}
ENGLISH_THINGS: dict[Thing, tuple[tuple[str, str], tuple[str, str]]] = {  # two words each, one and many
    "ball": (("ball", "balls"), ("beach ball", "beach balls")),
    "box": (("box", "boxes"), ("cube", "cubes")),
    "star": (("star", "stars"), ("star", "stars")),
    "heart": (("heart", "hearts"), ("heart", "hearts")),
    "moon": (("moon", "moons"), ("crescent moon", "crescent moons")),
    "tree": (("tree", "trees"), ("pine tree", "pine trees")),
    "house": (("house", "houses"), ("cottage", "cottages")),
    "boat": (("boat", "boats"), ("sailing boat", "sailing boats")),
    "fish": (("fish", "fish"), ("fish", "fish")),
    "flower": (("flower", "flowers"), ("flower", "flowers")),
    "cat": (("cat", "cats"), ("kitten", "kittens")),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
}
ENGLISH_PLACES: dict[Place, tuple[str, str]] = {
    "day": ("under a blue sky", "on a sunny day"),
    "night": ("at night", "under a dark night sky"),
    "sea": ("at sea", "in the sea"),
    "meadow": ("on the grass", "in a green meadow"),
    "desert": ("in the desert", "on the sand"),
    "snow": ("in the snow", "on white snow"),
    "sunset": ("at sunset", "in the evening glow"),
    "rain": ("in the rain", "on a rainy day"),
}
ENGLISH_ENDS: dict[Relation, tuple[str, str]] = {
    "left of": ("on the left", "on the right"),
    "above": ("at the top", "at the bottom"),
}
ENGLISH_RELATIONS: dict[Relation, tuple[str, str]] = {
    "left of": ("to the left of", "to the right of"),
    "above": ("above", "below"),
}


def _english_captions(scene: Scene) -> list[str]:
    towards, back = ENGLISH_RELATIONS[scene.relation]
    first_end, second_end = ENGLISH_ENDS[scene.relation]
    place, other_place = ENGLISH_PLACES[scene.place]
    return [
        f"{_english(scene.first, 0)} {towards} {_english(scene.second, 0)} {place}",
        f"{_english(scene.second, 1)} {back} {_english(scene.first, 1)} {other_place}",
        f"{place}, {_english(scene.first, 0)} {first_end} and {_english(scene.second, 1)} {second_end}",
    ]


def _english(group: Group, variant: int) -> str:
    one, many = ENGLISH_THINGS[group.thing][variant]
    if group.count > 1:
        return f"{ENGLISH_COUNTS[group.count]} {group.colour} {many}"
    if variant == 1:
        return f"one {group.colour} {one}"
    article = "an" if group.colour == "orange" else "a"
    return f"{article} {group.colour} {one}"


VIETNAMESE_COUNTS: dict[Count, str] = {1: "một", 2: "hai", 3: "ba"}
VIETNAMESE_COLOURS: dict[Colour, tuple[str, str]] = {
    "red": ("đỏ", "đỏ"),
    "orange": ("cam", "cam"),
    "yellow": ("vàng", "vàng"),
    "green": ("xanh lá cây", "xanh lục"),
    "blue": ("xanh dương", "xanh nước biển"),
    "purple": ("tím", "tím"),
    "pink": ("hồng", "hồng"),
    "brown": ("nâu", "nâu"),
    "white": ("trắng", "trắng"),
    "black": ("đen", "đen"),
}
VIETNAMESE_THINGS: dict[Thing, tuple[str, str]] = {  # with their classifiers
    "ball": ("quả bóng", "trái banh"),
    "box": ("chiếc hộp", "khối hộp"),
    "star": ("ngôi sao", "ngôi sao"),
    "heart": ("trái tim", "hình trái tim"),
    "moon": ("vầng trăng", "mảnh trăng khuyết"),
    "tree": ("cái cây", "cây thông"),
    "house": ("ngôi nhà", "căn nhà"),
    "boat": ("chiếc thuyền", "con thuyền buồm"),
    "fish": ("con cá", "chú cá"),
    "flower": ("bông hoa", "đóa hoa"),
    "cat": ("con mèo", "chú mèo"),
    "umbrella": ("chiếc ô", "cây dù"),
}
VIETNAMESE_PLACES: dict[Place, tuple[str, str]] = {
    "day": ("dưới bầu trời xanh", "vào một ngày nắng"),
    "night": ("vào ban đêm", "dưới bầu trời đêm"),
    "sea": ("trên biển", "giữa biển khơi"),
    "meadow": ("trên bãi cỏ", "giữa đồng cỏ xanh"),
    "desert": ("trên sa mạc", "trên nền cát"),
    "snow": ("trên tuyết", "giữa trời tuyết trắng"),
    "sunset": ("lúc hoàng hôn", "trong ánh chiều tà"),
    "rain": ("dưới mưa", "vào một ngày mưa"),
}
VIETNAMESE_RELATIONS: dict[Relation, tuple[str, str]] = {
    "left of": ("ở bên trái", "ở bên phải"),
    "above": ("ở phía trên", "ở phía dưới"),
}


def _vietnamese_captions(scene: Scene) -> list[str]:
    towards, back = VIETNAMESE_RELATIONS[scene.relation]
    place, other_place = VIETNAMESE_PLACES[scene.place]
    return [
        f"{_vietnamese(scene.first, 0)} {towards} {_vietnamese(scene.second, 0)} {place}",
        f"{other_place} có {_vietnamese(scene.second, 1)} {back} {_vietnamese(scene.first, 1)}",
        f"{place}, {_vietnamese(scene.first, 1)} {towards} còn {_vietnamese(scene.second, 0)} {back}",
    ]


def _vietnamese(group: Group, variant: int) -> str:
    colour = VIETNAMESE_COLOURS[group.colour][variant]
    return f"{VIETNAMESE_COUNTS[group.count]} {VIETNAMESE_THINGS[group.thing][variant]} màu {colour}"
