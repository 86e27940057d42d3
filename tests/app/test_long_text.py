"""Long texts are read in parts: by the sentence, and no part longer than is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.long_text import CAPTION_CHARS, split_text

MOST_WORDS = 8


def too_long(text: str) -> bool:
    return len(text.split()) > MOST_WORDS


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a dog", ["a dog"]),
        ("A dog runs. A cat sleeps.", ["A dog runs. A cat sleeps."]),
        ("A dog runs on a beach. A cat sleeps at home.", ["A dog runs on a beach.", "A cat sleeps at home."]),
        ("a b c d e, f g h i j k", ["a b c d e,", "f g h i j k"]),
        ("a b c d e f g h i", ["a b c d e", "f g h i"]),
        ("một hai ba bốn năm sáu\nbảy tám chín", ["một hai ba bốn năm sáu", "bảy tám chín"]),
    ],
)
def test_what_is_longer_than_is_read_is_split_where_it_falls_apart(text: str, parts: list[str]) -> None:
    assert split_text(text, too_long) == parts


def test_several_sentences_longer_than_a_caption_are_read_one_by_one_even_if_all_fit() -> None:
    sentence = "a dog " * (CAPTION_CHARS // 12) + "runs."
    assert split_text(f"{sentence} {sentence}", lambda text: False) == [sentence, sentence]
    assert split_text("word " * CAPTION_CHARS, lambda text: False) == ["word " * CAPTION_CHARS]


@given(st.text(alphabet="ab .,!\n", max_size=200))
def test_no_word_is_lost_and_every_part_is_read(text: str) -> None:
    parts = split_text(text, too_long)
    assert " ".join(parts).split() == text.split()
    assert not any(map(too_long, parts))
