import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from training.errors import SplitError, TrainingError
from training.photos import CaptionedPhoto, FileSource
from training.splits import (
    NEAR_BITS,
    Checked,
    CheckedPhoto,
    Duplicate,
    Splits,
    check_photos,
    find_duplicates,
    split_as_given,
    split_at_random,
    split_by_lists,
    without_duplicates,
)

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True)
BITS_64 = 2**64 - 1


@dataclass(frozen=True)
class BytesSource:
    content: bytes

    def read(self) -> bytes:
        return self.content


def photo(name: str, split: str | None = None, content: bytes = b"") -> CaptionedPhoto:
    return CaptionedPhoto(name, (f"caption of {name}",), BytesSource(content), split)


def photos(*names: str) -> list[CaptionedPhoto]:
    return [photo(name) for name in names]


def names(of: Sequence[CaptionedPhoto]) -> list[str]:
    return [photo.name for photo in of]


def write_list(path: Path, *lines: str) -> Path:
    path.write_bytes("\n".join(lines).encode())
    return path


def checked(**hashes: int) -> Checked:
    """Photos of distinct files with these perceptual hashes, given unsigned."""
    return Checked(
        tuple(
            CheckedPhoto(
                photo(name), hashlib.sha256(name.encode()).hexdigest(), bits - 2**64 if bits >> 63 else bits
            )
            for name, bits in hashes.items()
        ),
        [],
    )


def picture(seed: int, size: int = 64) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "JPEG", quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, form, quality=quality)
    return file.getvalue()


# Lists


def test_lists_split_and_what_is_in_none_is_left_out(tmp_path: Path) -> None:
    train = write_list(tmp_path / "train.txt", "c", "a")
    dev = write_list(tmp_path / "dev.txt", "\ufeffd\r", "", " b ", "b")
    splits = split_by_lists(photos("a", "b", "c", "d", "e"), train, dev)
    assert [names(splits.train), names(splits.dev), names(splits.test)] == [["a", "c"], ["b", "d"], []]


def test_without_a_list_for_training_all_the_others_train(tmp_path: Path) -> None:
    dev, test = write_list(tmp_path / "dev.txt", "b"), write_list(tmp_path / "test.txt", "d")
    splits = split_by_lists(photos("a", "b", "c", "d"), None, dev, test)
    assert [names(splits.train), names(splits.dev), names(splits.test)] == [["a", "c"], ["b"], ["d"]]


def test_a_name_without_captions_is_an_error_that_shows_the_first_few(tmp_path: Path) -> None:
    dev = write_list(tmp_path / "dev.txt", "a", *(f"x{number}" for number in range(1200)))
    with pytest.raises(SplitError, match=r"dev\.txt: 1,200 names .*: x0, x1, x2, x3, x4, …$"):
        split_by_lists(photos("a", "b"), None, dev)


@pytest.mark.parametrize("shared", ["train", "test"])
def test_a_name_in_two_lists_is_an_error_that_names_both(tmp_path: Path, shared: str) -> None:
    lists = {
        split: write_list(tmp_path / f"{split}.txt", split, *(["dev"] if split == shared else []))
        for split in ("train", "dev", "test")
    }
    with pytest.raises(SplitError, match=r"1 names are in .*\.txt, too: dev") as caught:
        split_by_lists(photos("train", "dev", "test"), **lists)
    assert f"{shared}.txt" in str(caught.value)
    assert "dev.txt" in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [(b"", "names no photo"), (b"\xff", "not UTF-8")])
def test_a_list_that_is_none_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dev.txt"
    path.write_bytes(content)
    with pytest.raises(SplitError, match=rf"dev\.txt.*: {message}"):
        split_by_lists(photos("a", "b"), None, path)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"no\.txt: No such file"):
        split_by_lists(photos("a"), None, tmp_path / "no.txt")


def test_a_split_without_photos_to_learn_from_or_to_judge_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no photo is left for training"):
        split_by_lists(photos("a"), None, write_list(tmp_path / "dev.txt", "a"))
    with pytest.raises(SplitError, match="no photo is left for dev"):
        split_as_given([photo("a", "train"), photo("b", "test")])
    assert issubclass(SplitError, TrainingError)


# Given and random


def test_given_splits_are_kept() -> None:
    given_splits = [photo("a", "train"), photo("b", "dev"), photo("c", "test"), photo("d", "train")]
    splits = split_as_given(given_splits)
    assert [names(splits.train), names(splits.dev), names(splits.test)] == [["a", "d"], ["b"], ["c"]]
    with pytest.raises(SplitError, match="1 of 5 photos have no split in the captions file: e"):
        split_as_given([*given_splits, photo("e")])


@settings(deadline=None)
@given(found=NAMES.filter(lambda names: len(names) > 1), share=st.floats(0.001, 0.999), seed=st.integers())
def test_a_random_split_takes_each_photo_once_and_leaves_neither_side_empty(
    found: list[str], share: float, seed: int
) -> None:
    splits = split_at_random(photos(*found), share, seed)
    assert sorted(names(splits.train) + names(splits.dev)) == sorted(found)
    assert splits.train
    assert splits.dev
    assert not splits.test


@settings(deadline=None)
@given(found=NAMES.filter(lambda names: len(names) > 1), seed=st.integers(), data=st.data())
def test_order_changes_no_side(found: list[str], seed: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(found))
    once, again = (split_at_random(photos(*order), 0.3, seed) for order in (found, shuffled))
    assert {*names(once.dev)} == {*names(again.dev)}


@settings(deadline=None)
@given(more=NAMES, seed=st.integers(0, 1000))
def test_more_photos_move_none_of_those_before(more: list[str], seed: int) -> None:
    before = [f"photo {number}" for number in range(200)]
    splits = split_at_random(photos(*before), 0.2, seed)
    grown = split_at_random(photos(*before, *(name for name in more if name not in before)), 0.2, seed)
    assert {*names(grown.dev)} & {*before} == {*names(splits.dev)}
    assert {*names(grown.train)} & {*before} == {*names(splits.train)}


@settings(deadline=None)
@given(found=NAMES, name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), seed=st.integers())
def test_a_photo_more_moves_at_most_the_one_that_kept_a_side_from_being_empty(
    found: list[str], name: str, seed: int
) -> None:
    before = [other for other in found if other != name]
    if len(before) < 2:
        return
    once, again = (
        split_at_random(photos(*before), 0.3, seed),
        split_at_random(photos(*before, name), 0.3, seed),
    )
    assert len(({*names(once.dev)} ^ {*names(again.dev)}) - {name}) <= 1


def test_the_share_is_about_what_was_asked_and_another_seed_takes_others() -> None:
    many = photos(*(f"{number}.jpg" for number in range(10_000)))
    first, second = (names(split_at_random(many, 0.1, seed).dev) for seed in (0, 1))
    assert 900 < len(first) < 1100
    assert 900 < len(second) < 1100
    assert len({*first} & {*second}) < 200


def test_a_random_split_is_the_same_in_every_release() -> None:
    ten = photos(*(f"{number}.jpg" for number in range(10)))
    assert names(split_at_random(ten, 0.3).dev) == ["0.jpg", "2.jpg", "4.jpg"]


def test_what_cannot_be_split_is_refused() -> None:
    for few in (photos(), photos("a")):
        with pytest.raises(SplitError, match="it takes two"):
            split_at_random(few)
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            split_at_random(photos("a", "b"), share)


def test_no_photo_is_in_two_splits() -> None:
    a, b, c = photos("a", "b", "c")
    for splits in (((a,), (a,), ()), ((a,), (b,), (b,)), ((a,), (b,), (a,)), ((a, a), (b,), ())):
        with pytest.raises(SplitError, match="name a photo twice"):
            Splits(*splits)
    assert Splits((a,), (b,), (c,)).test == (c,)


# Photos that cannot be used


def test_missing_and_broken_photos_are_named_and_cost_the_others_nothing(tmp_path: Path) -> None:
    whole = encoded(picture(0))
    good, other = photo("good.jpg", content=whole), photo("other.png", content=encoded(picture(1), "PNG"))
    missing = CaptionedPhoto("missing.jpg", ("a",), FileSource(tmp_path / "missing.jpg"))
    folder = CaptionedPhoto("folder.jpg", ("a",), FileSource(tmp_path))
    cut = photo("cut.jpg", content=whole[: len(whole) // 2])
    found = check_photos([missing, good, cut, photo("empty.jpg"), folder, other], max_workers=3)
    assert found.photos == (good, other)
    assert [(name, reason.split(" (")[0]) for name, reason in found.failed] == [
        ("missing.jpg", "No such file or directory"),
        ("cut.jpg", "JPEG damaged or cut short"),
        ("empty.jpg", "the file is empty"),
        ("folder.jpg", "Is a directory"),
    ]
    assert found.usable[0].sha256 == hashlib.sha256(whole).hexdigest()
    assert -(2**63) <= found.usable[0].perceptual_hash < 2**63


def test_each_photo_is_read_once(tmp_path: Path) -> None:
    reads: list[str] = []

    @dataclass(frozen=True)
    class Counted:
        name: str

        def read(self) -> bytes:
            reads.append(self.name)
            raise OSError("unreachable")

    many = [CaptionedPhoto(str(number), ("a",), Counted(str(number))) for number in range(2000)]
    found = check_photos(many, max_workers=4)
    assert found.failed == [(str(number), "unreachable") for number in range(2000)]
    assert sorted(reads, key=int) == [str(number) for number in range(2000)]


def test_nothing_to_check_is_fine() -> None:
    assert check_photos([]) == Checked((), [])


# Duplicates


def test_the_same_file_and_the_same_picture_are_found_across_splits() -> None:
    pictures = [picture(seed, 128) for seed in range(6)]
    train = [photo(f"train {seed}", content=encoded(image)) for seed, image in enumerate(pictures[:4])]
    dev = [
        photo("copy of 0", content=encoded(pictures[0])),
        photo("1 again, smaller", content=encoded(pictures[1].resize((80, 80)), quality=50)),
        photo("new", content=encoded(pictures[4])),
    ]
    test = [
        photo("2 as PNG", content=encoded(pictures[2], "PNG")),
        photo("copy of new", content=dev[2].source.read()),
    ]
    found = find_duplicates(
        {
            split: check_photos(of, max_workers=2)
            for split, of in (("train", train), ("dev", dev), ("test", test))
        }
    )
    assert [(pair.name, pair.split, pair.other_name, pair.other_split, pair.is_exact) for pair in found] == [
        ("train 0", "train", "copy of 0", "dev", True),
        ("new", "dev", "copy of new", "test", True),
        ("train 1", "train", "1 again, smaller", "dev", False),
        ("train 2", "train", "2 as PNG", "test", False),
    ]
    assert [pair.distance for pair in found[:2]] == [0, 0]
    assert all(pair.distance <= NEAR_BITS for pair in found)
    kept = without_duplicates(Splits(tuple(train), tuple(dev), tuple(test)), found)
    assert names(kept.train) == ["train 3"]
    assert (kept.dev, kept.test) == (tuple(dev), tuple(test))


@pytest.mark.parametrize("one", [0x00FF_00FF_00FF_00FF, 0xF0F0_F0F0_F0F0_F0F0])
@settings(deadline=None)
@given(flipped=st.sets(st.integers(0, 63), max_size=8))
@example(flipped={0, 63})
def test_near_is_up_to_four_bits_and_signs_do_not_matter(one: int, flipped: set[int]) -> None:
    other = one
    for bit in flipped:
        other ^= 1 << bit
    found = find_duplicates({"train": checked(a=one), "dev": checked(b=other)})
    expected = [Duplicate("a", "train", "b", "dev", len(flipped), False)] if len(flipped) <= 4 else []
    assert found == expected


def test_flat_pictures_are_alike_only_where_their_files_are() -> None:
    flat = {colour: encoded(Image.new("RGB", (32, 32), colour), "PNG") for colour in ("red", "blue", "white")}
    ramp = np.tile(np.arange(0, 256, 4, np.uint8), (64, 1))
    ramps = [
        encoded(Image.fromarray(pixels), "PNG")
        for pixels in (ramp, ramp[:, ::-1], ramp // 2, ramp[:, ::-1] // 2)
    ]
    train = [photo(name, content=flat[name]) for name in ("red", "white")]
    train += [photo("up", content=ramps[0]), photo("down", content=ramps[1])]
    dev = [photo("blue", content=flat["blue"]), photo("also white", content=flat["white"])]
    dev += [photo("dark up", content=ramps[2]), photo("dark down", content=ramps[3])]
    found = find_duplicates({"train": check_photos(train), "dev": check_photos(dev)})
    assert found == [Duplicate("white", "train", "also white", "dev", 0, True)]


def test_many_photos_are_compared_block_by_block() -> None:
    rng = np.random.default_rng(0)
    hashes = [int(bits) for bits in rng.integers(0, 2**64, 3000, np.uint64)]
    train = checked(**{f"t{number}": bits for number, bits in enumerate(hashes)})
    dev = checked(**{f"d{number}": bits ^ 0b101 for number, bits in enumerate(hashes[::10])})
    found = find_duplicates({"train": train, "dev": dev})
    assert [(pair.name, pair.other_name) for pair in found] == [(f"t{10 * n}", f"d{n}") for n in range(300)]
    assert {pair.distance for pair in found} == {2}


def test_duplicates_within_a_split_are_its_own_affair() -> None:
    same = 0x0F0F_0F0F_0F0F_0F0F
    assert find_duplicates({"train": checked(a=same, b=same), "dev": checked(c=same ^ BITS_64)}) == []


def test_the_training_side_is_dropped_whichever_is_named_first() -> None:
    a, b, c = photos("a", "b", "c")
    for pair in (Duplicate("a", "train", "c", "dev", 0, True), Duplicate("c", "dev", "a", "train", 0, True)):
        assert without_duplicates(Splits((a, b), (c,)), [pair]) == Splits((b,), (c,))


def test_training_on_nothing_but_duplicates_is_refused() -> None:
    a, b = photos("a", "b")
    with pytest.raises(SplitError, match="no photo is left for training"):
        without_duplicates(Splits((a,), (b,)), [Duplicate("a", "train", "b", "dev", 0, True)])
