"""The drawn, captioned gallery that the demo, the tests and CI train on: nothing to download or to license.

A scene is two groups of things, where one stands to the other, and a place: two yellow stars to the left of
a red boat, at sea. `scene` says what there is and which scenes are for training, `wording` describes a scene
in English and in Vietnamese, `drawing` draws it, and `files` writes a gallery with its captions.
"""

from training.scenes.drawing import PICTURE_SIZE_PX, draw
from training.scenes.files import write_gallery
from training.scenes.scene import Group, Scene, gallery, is_held_out, training_scenes
from training.scenes.wording import Caption, captions_of, phrases_of

__all__ = [
    "PICTURE_SIZE_PX",
    "Caption",
    "Group",
    "Scene",
    "captions_of",
    "draw",
    "gallery",
    "is_held_out",
    "phrases_of",
    "training_scenes",
    "write_gallery",
]
