"""Which words of a question are negated, in English and Vietnamese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.negation import Understood, read_negation

NEGATED = """
a man without a hat                            | a man                              | a hat
a man without a hat on a beach                 | a man on a beach                   | a hat
A man WITHOUT a Hat                            | A man                              | a Hat
a man w/o a hat                                | a man                              | a hat
a dog with no collar, running on grass         | a dog, running on grass            | collar
a woman wearing no glasses in a park           | a woman in a park                  | glasses
a beach with no people                         | a beach                            | people
no people                                      |                                    | people
a street without a running dog by a wall       | a street by a wall                 | a running dog
a street, no cars or bicycles                  | a street                           | cars, bicycles
a kitchen without any people or pets           | a kitchen                          | people, pets
people not looking at the camera               | people                             | looking at the camera
a boy who isn't wearing a shirt                | a boy                              | wearing a shirt
a man who does not ride a bicycle              | a man                              | ride a bicycle
a man but not a dog                            | a man                              | a dog
a man without a hat and without a beard        | a man                              | a hat, a beard
children playing without shoes and a ball      | children playing and a ball        | shoes
there are no clouds in the sky                 | in the sky                         | clouds
people except children                         | people                             | children
một người đàn ông không có mũ                  | một người đàn ông                  | mũ
người đàn ông không đội mũ đang đứng trên cát  | người đàn ông đang đứng trên cát   | đội mũ
con chó không có dây xích trên cỏ              | con chó trên cỏ                    | dây xích
bãi biển không người                           | bãi biển                           | người
đường phố chưa lên đèn                         | đường phố                          | lên đèn
người không mặc áo hoặc không đeo kính         | người                              | mặc áo, đeo kính
nguoi dan ong khong co mu                      | nguoi dan ong                      | mu
không có người                                 |                                    | người
"""

AFFIRMATIVE = """
a dog on a beach
a notebook on a knotted table
a no parking sign
a sign saying no dogs
not only a dog
a poster of "no country for old men"
is it a dog or not
there is no doubt it is a dog
the no. 5 bus
a forget-me-not in a no-fly zone
no
without
có con chó không?
máy bay trên không
bóng bay lơ lửng giữa không trung
máy bay không người lái
hãng hàng không Việt Nam
trẻ em không chỉ chơi bóng
ngôi chùa trên núi
  two  dogs ,  and a CAT
"""


@pytest.mark.parametrize("line", NEGATED.strip().splitlines())
def test_the_negated_words_are_told_from_the_others(line: str) -> None:
    text, asked, without = (part.strip() for part in line.split("|"))
    assert read_negation(text) == Understood(asked, tuple(without.split(", ")))


@pytest.mark.parametrize("text", AFFIRMATIVE.strip("\n").splitlines())
def test_a_question_that_negates_nothing_stays_as_it_is(text: str) -> None:
    assert read_negation(text) == Understood(text)


def test_accents_that_were_typed_in_two_parts_are_read_too() -> None:
    assert read_negation("bãi biển không người") == Understood("bãi biển", ("người",))


@given(st.text(max_size=40))
def test_any_text_is_taken(text: str) -> None:
    understood = read_negation(text)
    assert understood.without or understood.text == text


@pytest.mark.parametrize(
    "part", ["there is ", "with ", "no ", "without a hat ", " ", "'", "no cats or ", "không "]
)
def test_no_text_takes_long(part: str) -> None:
    read_negation(part * 400 + "x")
