"""Questions on one line, as the command line takes them: words, files and ids, added and subtracted."""

from pathlib import Path
from uuid import UUID

import pytest

from app.errors import QuestionError
from app.expression import read_expression
from app.terms import Term
from tests.app.conftest import picture

ID = UUID("01234567-89ab-8def-8123-456789abcdef")


@pytest.fixture
def pool_jpg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A picture where the command is run."""
    monkeypatch.chdir(tmp_path)
    Path("pool.jpg").write_bytes(picture("teal"))
    return picture("teal")


def test_words_files_and_ids_are_added_and_subtracted(pool_jpg: bytes) -> None:
    asked = ["2: golden retriever", "+", "pool.jpg", "-", "fruit", "+", f"0.5:{ID}"]
    assert read_expression(asked) == (
        Term(text="golden retriever", weight=2),
        Term(picture=pool_jpg, picture_name="pool.jpg"),
        Term(text="fruit", weight=-1),
        Term(image_id=ID, weight=0.5),
    )


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        (["a dog - no leash + a ball"], [Term(text="a dog - no leash + a ball")]),
        (["a", "dog", "on", "a", "beach"], [Term(text="a dog on a beach")]),
        (["3:10 to Yuma"], [Term(text="3:10 to Yuma")]),
        (["a sign: stop"], [Term(text="a sign: stop")]),
        (["-", "people"], [Term(text="people", weight=-1)]),
        (["2:", "a", "dog", "+", ".5:cat"], [Term(text="a dog", weight=2), Term(text="cat", weight=0.5)]),
        (["chó", "trên", "bãi", "biển"], [Term(text="chó trên bãi biển")]),
    ],
)
def test_words_stay_as_they_are_typed(arguments: list[str], terms: list[Term]) -> None:
    assert read_expression(arguments) == tuple(terms)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a dog", "+"], "nothing after the last +"),
        (["a dog", "+", "-", "fruit"], "nothing between + and -, part 3"),
        (["a dog", "-", "2:"], "nothing to ask in '2:'"),
        ([""], "nothing to ask in ''"),
        (["a dog", "+", "11: cats"], "'11: cats': it is multiplied by 11; the most is 10"),
        (["a dog", "+", "nowhere.jpg"], "'nowhere.jpg' looks like a picture's file"),
        (["./a dog"], "'./a dog' looks like a picture's file"),
        (["https://example.org/dog.jpg"], "'https://example.org/dog.jpg' is an address"),
    ],
)
def test_a_part_that_is_wrong_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(QuestionError) as refused:
        read_expression(arguments)
    assert said in str(refused.value)


@pytest.mark.parametrize("words", ["a" * 5000, "a\0b"])
def test_words_that_no_file_could_be_called_are_words(words: str) -> None:
    assert read_expression([words]) == (Term(text=words),)
