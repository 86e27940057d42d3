import hashlib
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.captions import load_flickr8k_captions
from training.scenes import (
    PICTURE_SIZE_PX,
    Scene,
    captions_of,
    draw,
    gallery,
    phrases_of,
    training_scenes,
    write_gallery,
)

HASH_OF_A_GALLERY = """
import hashlib
import numpy as np
from training.scenes import captions_of, draw, gallery

digest = hashlib.sha256()
for number, scene in enumerate(gallery(20, seed=7)):
    digest.update(draw(scene, np.random.default_rng(number)).tobytes())
    digest.update("".join(caption.body for caption in captions_of(scene)).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return gallery(300, seed=0)


def test_the_same_seed_draws_the_same_bytes_in_every_process() -> None:
    def run(hash_seed: str) -> str:
        environment = {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", HASH_OF_A_GALLERY]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert run("1") == run("2")


def test_another_drawing_of_a_scene_is_another_picture(scenes: list[Scene]) -> None:
    once, again = (draw(scenes[0], np.random.default_rng(seed)) for seed in (0, 1))
    assert once.size == again.size == (PICTURE_SIZE_PX, PICTURE_SIZE_PX)
    assert once.mode == "RGB"
    assert once.tobytes() != again.tobytes()


def test_no_two_scenes_of_a_gallery_share_a_caption(scenes: list[Scene]) -> None:
    bodies = Counter(caption.body for scene in scenes for caption in captions_of(scene))
    assert bodies.most_common(1)[0][1] == 1


def test_a_scene_has_three_captions_in_each_language(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert Counter(caption.language for caption in captions_of(scene)) == {"en": 3, "vi": 3}


def test_vietnamese_captions_carry_their_accents_and_are_nfc(scenes: list[Scene]) -> None:
    for scene in scenes:
        for caption in [*captions_of(scene), *phrases_of(scene)]:
            assert unicodedata.is_normalized("NFC", caption.body)
            assert caption.body.isascii() is (caption.language == "en")


def test_training_never_shows_a_pair_of_things_that_a_gallery_shows(scenes: list[Scene]) -> None:
    def pair(scene: Scene) -> frozenset[tuple[str, str]]:
        return frozenset((group.colour, group.thing) for group in (scene.first, scene.second))

    assert {pair(scene) for scene in scenes}.isdisjoint(
        {pair(scene) for scene in training_scenes(2000, seed=0)}
    )


def test_training_teaches_every_word_of_every_gallery(scenes: list[Scene]) -> None:
    def words(scenes: list[Scene]) -> set[str]:
        return {word for scene in scenes for caption in captions_of(scene) for word in caption.body.split()}

    assert words(scenes) <= words(training_scenes(2000, seed=0))


def test_scenes_are_distinct_and_another_seed_gives_others(scenes: list[Scene]) -> None:
    assert len(set(scenes)) == 300
    assert scenes == gallery(300, seed=0)
    assert scenes != gallery(300, seed=1)


def test_a_written_gallery_is_read_back_and_written_again_the_same(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    def digests() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}

    paths = write_gallery(tmp_path, scenes[:5])
    first = digests()
    assert write_gallery(tmp_path, scenes[:5]) == paths
    assert digests() == first
    assert len(first) == 6
    captions = load_flickr8k_captions(tmp_path / "captions.txt")
    assert captions == {
        path.name: [caption.body for caption in captions_of(scene)]
        for path, scene in zip(paths, scenes[:5], strict=True)
    }
