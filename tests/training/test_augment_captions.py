import re
import unicodedata
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment_captions import (
    NO_CAPTION_AUGMENTATION,
    NUMBERS_AND_COLOURS,
    SYNONYMS,
    TURNING,
    VIETNAMESE_SYNONYMS,
    VIETNAMESE_TURNING,
    CaptionAugmentation,
    augment_caption,
    is_turned,
    without_accents,
)
from training.scenes import captions_of, gallery, phrases_of

ALWAYS = CaptionAugmentation(**{field.name: 1 for field in fields(CaptionAugmentation)})
ONLY_DROPS = replace(NO_CAPTION_AUGMENTATION, drop_share=1)
ONLY_SYNONYMS = replace(NO_CAPTION_AUGMENTATION, synonym_share=1)
ONLY_TYPOS = replace(NO_CAPTION_AUGMENTATION, typo_share=1)

ENGLISH = [
    "A small dog and two large cats sit on a red sofa near the woods .",
    "There is a little girl who is wearing a very big yellow hat",
    "The young woman in a t-shirt sits beside her puppy .",
    "An enormous black and white bunny leaps over three stones",
]
VIETNAMESE = [
    "Một con chó đang chạy trên bãi biển .",
    "Những đứa trẻ đang chơi với quả bóng màu xanh lá cây",
    "Hai người đàn ông rất cao đứng bên cạnh chiếc xe hơi màu đỏ",
    "mười một con mèo trên vỉa hè",
]
WORDS = st.sampled_from(
    sorted({word for caption in ENGLISH + VIETNAMESE for word in caption.split()})
    + sorted(NUMBERS_AND_COLOURS)
    + ["not", "without", "không", "isn't", "isn 't", "every", "a", "the", "...", "!", "é"]
)
CAPTIONS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(WORDS, max_size=12).map(" ".join)
)
SETTINGS = st.builds(
    CaptionAugmentation, **{field.name: st.floats(0, 1) for field in fields(CaptionAugmentation)}
)


def augmented(caption: str, augmentation: CaptionAugmentation, times: int = 200) -> set[str]:
    return {augment_caption(caption, np.random.default_rng(seed), augmentation) for seed in range(times)}


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).lower())


@settings(deadline=None)
@given(CAPTIONS, st.integers(0, 2**32), SETTINGS)
def test_a_caption_is_never_emptied_and_the_same_rng_gives_the_same_words(
    caption: str, seed: int, augmentation: CaptionAugmentation
) -> None:
    once, again = (augment_caption(caption, np.random.default_rng(seed), augmentation) for _ in range(2))
    assert once == again
    assert bool(once.strip()) is bool(caption.strip())
    assert any(map(str.isalnum, once)) is any(map(str.isalnum, unicodedata.normalize("NFC", caption)))


@settings(deadline=None)
@given(CAPTIONS.filter(str.strip), st.integers(0, 2**32))
def test_a_changed_caption_is_nfc_with_single_spaces(caption: str, seed: int) -> None:
    text = augment_caption(caption, np.random.default_rng(seed), ALWAYS)
    assert unicodedata.is_normalized("NFC", text)
    assert text == " ".join(text.split())


@given(CAPTIONS, st.integers(0, 2**32))
def test_no_augmentation_gives_the_caption_back(caption: str, seed: int) -> None:
    assert augment_caption(caption, np.random.default_rng(seed), NO_CAPTION_AUGMENTATION) == caption


@pytest.mark.parametrize("caption", ["the", "A", "is the", "đang", "the .", "..."])
def test_a_caption_of_small_words_only_stays(caption: str) -> None:
    assert augmented(caption, ONLY_DROPS, 1) == {caption}


@pytest.mark.parametrize(
    ("caption", "shorter"),
    [
        (ENGLISH[0], "dog and two cats sit on red sofa near woods ."),
        (ENGLISH[1], "girl wearing big yellow hat"),
        ("a small and brown dog", "small and brown dog"),
        ("a brown and small dog", "brown and small dog"),
        ("a big, tall man", "big, tall man"),
        ("the dog is small", "dog small"),
        (VIETNAMESE[0], "con chó chạy trên bãi biển ."),
        ("mười một con mèo", "mười một con mèo"),  # eleven cats are not ten
        ("một số người", "một số người"),  # some people
    ],
)
def test_only_words_whose_loss_leaves_it_true_are_dropped(caption: str, shorter: str) -> None:
    assert augmented(caption, ONLY_DROPS, 1) == {shorter}


@given(st.lists(WORDS, max_size=12).map(" ".join), st.integers(0, 2**32))
def test_numbers_colours_and_negations_survive_drops_and_slips(caption: str, seed: int) -> None:
    harsh = replace(NO_CAPTION_AUGMENTATION, drop_share=0.7, typo_share=1)
    kept = NUMBERS_AND_COLOURS | TURNING | VIETNAMESE_TURNING
    after = words(augment_caption(caption, np.random.default_rng(seed), harsh))
    for word in words(caption):
        if word in kept:
            assert after.count(word) == words(caption).count(word)


@pytest.mark.parametrize(
    "caption",
    [
        "a man without a large bag",
        "a dog that is not very small",
        "There is no small dog near the woods",
        "the woman isn't wearing a big hat",
        "the woman isn 't wearing a big hat",
        "the woman isn’t wearing a big hat",
        "every young woman wears a hat",
        "few young children",
        "all but the big dog",
        "người đàn ông không đội chiếc mũ bảo hiểm rất lớn",
        "đứa trẻ chưa có quả bóng",
        "mọi đứa trẻ đều cầm quả bóng",
        "nguoi dan ong khong doi mu",
        unicodedata.normalize("NFD", "những người không có quả bóng"),
    ],
)
def test_a_caption_that_a_lost_word_could_turn_round_keeps_all_its_words(caption: str) -> None:
    assert is_turned(caption)
    both = replace(ONLY_DROPS, synonym_share=1)
    assert augmented(caption, both, 20) == {unicodedata.normalize("NFC", caption)}


@pytest.mark.parametrize("caption", [*ENGLISH, *VIETNAMESE, "a nothingness knot", "the buttons allow it"])
def test_plain_captions_are_not_taken_for_turned_ones(caption: str) -> None:
    assert not is_turned(caption)


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("A bicycle, outdoors!", {"A bike, outside!"}),
        ("a toddler and an infant", {"a small child and a baby"}),
        ("a huge dog", {"an enormous dog"}),
        ("A huge dog", {"An enormous dog"}),
        ("Enormous dogs", {"Huge dogs"}),
        ("a man on a bike", {"a man on a bike"}),  # it may be a motorbike
        ("near Tiger Woods", {"close to Tiger Woods"}),
        ("a hat beside the sea-lion", {"a hat next to the sea-lion"}),
        ("con mèo trên bãi biển", {"chú mèo trên bờ biển"}),
        ("một chiếc ô tô", {"một chiếc ô tô"}),  # it may be a truck
        ("Máy ảnh.", {"Máy chụp hình."}),
        ("màu, cam", {"màu, cam"}),
        ("điện thoại di động", {"điện thoại"}),
    ],
)
def test_synonyms_keep_case_punctuation_article_and_truth(caption: str, said: set[str]) -> None:
    assert augmented(caption, ONLY_SYNONYMS, 20) == said


@pytest.mark.parametrize("table", [SYNONYMS, VIETNAMESE_SYNONYMS])
def test_a_synonym_table_is_lower_case_nfc_and_leaves_numbers_alone(
    table: dict[str, tuple[str, ...]],
) -> None:
    for phrase, others in table.items():
        assert others
        assert phrase not in others
        for text in (phrase, *others):
            assert text == unicodedata.normalize("NFC", text.lower()) == " ".join(text.split())
            assert not is_turned(text)
        colours_apart_from_spelling = NUMBERS_AND_COLOURS - {"gray", "grey"}
        assert colours_apart_from_spelling.isdisjoint(words(" ".join((phrase, *others))))


def test_no_synonym_leads_back_to_another_meaning() -> None:
    assert SYNONYMS["bicycle"] == ("bike",)
    assert "bike" not in SYNONYMS
    assert VIETNAMESE_SYNONYMS["xe hơi"] == ("ô tô",)
    assert "ô tô" not in VIETNAMESE_SYNONYMS


def test_a_typo_is_one_slip_in_one_long_word_after_its_first_letter() -> None:
    caption = "Children sitting in yellow helmets, without umbrellas ."
    typed = augmented(caption, ONLY_TYPOS)
    assert len(typed) > 20
    for text in typed:
        changed = [(old, new) for old, new in zip(caption.split(), text.split(), strict=True) if old != new]
        assert len(changed) <= 1  # a doubled pair swapped is no change
        for old, new in changed:
            assert old in {"Children", "sitting", "helmets,", "umbrellas"}
            assert new[0] == old[0]
            assert abs(len(new) - len(old)) <= 1
            assert set(new) <= set(old)


def test_short_words_and_marks_are_never_mistyped() -> None:
    assert augmented("a dog runs 1234567 😀😀😀😀😀😀 x-ray-machine", ONLY_TYPOS, 50) == {
        "a dog runs 1234567 😀😀😀😀😀😀 x-ray-machine"
    }


def test_only_vietnamese_loses_its_accents() -> None:
    bare = replace(NO_CAPTION_AUGMENTATION, unaccented_share=1)
    assert augmented("Một con đường Đỏ", bare, 1) == {"Mot con duong Do"}
    assert augmented("ガラスの犬", bare, 1) == {"ガラスの犬"}
    assert augmented("हिन्दी", bare, 1) == {"हिन्दी"}


def test_case_and_full_stop_vary_and_nothing_else_with_them() -> None:
    case = replace(NO_CAPTION_AUGMENTATION, case_share=1)
    assert augmented("a Red dog .", case) == {"a red dog .", "A Red dog .", "A RED DOG ."}
    assert augmented("ΐ", case) == {"ΐ", unicodedata.normalize("NFC", "ΐ".upper())}
    stop = replace(NO_CAPTION_AUGMENTATION, full_stop_share=1)
    for before, after in [
        ("a dog .", "a dog"),
        ("a dog.", "a dog"),
        ("a dog", "a dog."),
        ("a dog?", "a dog?"),
        (".", "."),
    ]:
        assert augmented(before, stop, 1) == {after}


def test_the_defaults_are_mild() -> None:
    same = sum(
        len(words(caption))
        - len(words(augment_caption(caption, np.random.default_rng(seed), CaptionAugmentation())))
        for caption in ENGLISH + VIETNAMESE
        for seed in range(200)
    )
    assert 0 < same / (200 * len(ENGLISH + VIETNAMESE)) < 1  # less than a word a caption


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_no_probability_is_named(share: float) -> None:
    with pytest.raises(ValueError, match="typo_share"):
        CaptionAugmentation(typo_share=share)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Một con đường ở ĐÀ NẴNG", "Mot con duong o DA NANG"),
        ("dưới bầu trời xanh", "duoi bau troi xanh"),
        ("a café", "a cafe"),
        ("한국", "한국"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_come_off_in_either_form(text: str, bare: str, form: str) -> None:
    assert without_accents(unicodedata.normalize(form, text)) == bare


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_without_accents_has_none_left_to_lose(text: str) -> None:
    assert without_accents(without_accents(text)) == without_accents(text)


def test_the_drawn_world_reads_its_unaccented_captions_as_it_always_did() -> None:
    """Other texts would make another encoder, and every checkpoint of the drawn world would be stale."""

    def formerly(text: str) -> str:
        letters = unicodedata.normalize("NFD", text).replace("đ", "d")
        return "".join(letter for letter in letters if not unicodedata.combining(letter))

    for scene in gallery(300, seed=0):
        for caption in [*captions_of(scene), *phrases_of(scene)]:
            assert without_accents(caption.body) == formerly(caption.body)
