"""The parts of a question are chips with weights; answers steer the next question."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.drawings import SCENES, caption, drawing_id, jpeg
from tests.e2e.steps import answered, ask, attach, found, hit_of, hits, open_picture, question_box, terms_sent


def chips(page: Page) -> Locator:
    return page.get_by_test_id("chip")


def weight(chip: Locator) -> Locator:
    return chip.get_by_role("spinbutton")


def balance(page: Page) -> Locator:
    return page.get_by_role("slider", name="Balance of words and pictures")


def test_words_and_a_picture_are_balanced_by_one_slider(page: Page) -> None:
    question_box(page).fill("at night")
    expect(balance(page)).to_be_hidden()
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    expect(balance(page)).to_be_visible()
    expect(balance(page)).to_have_attribute("aria-valuetext", re.compile("Words .*60.* pictures .*40"))
    balance(page).press("Home")
    expect(page.get_by_text("Only the pictures count.")).to_be_visible()
    with page.expect_request("**/api/ask") as asking:
        question_box(page).press("Enter")
    assert {"text" in term: term["weight"] for term in terms_sent(asking.value)} == {True: 0, False: 1}
    assert str(drawing_id(3)) in found(answered(page))[:3]


def test_more_like_this_adds_the_picture_to_the_question(page: Page) -> None:
    turn = ask(page, "a red boat")
    wanted = found(turn)[3]
    with page.expect_request("**/api/ask") as asking:
        hit_of(turn, wanted).hover()
        hit_of(turn, wanted).get_by_role("button", name="More like this").click()
    (words, picture) = terms_sent(asking.value)
    assert words["text"] == "a red boat"
    assert picture["image_id"] == wanted
    assert words["weight"] > 0 < picture["weight"]
    expect(page.get_by_test_id("turn")).to_have_count(2)
    assert wanted not in found(answered(page))


def test_less_like_this_leads_away_from_the_picture(page: Page) -> None:
    turn = ask(page, "a red boat")
    unwanted = found(turn)[0]
    with page.expect_request("**/api/ask") as asking:
        hits(turn).first.hover()
        hits(turn).first.get_by_role("button", name="Less like this").click()
    assert terms_sent(asking.value)[-1]["image_id"] == unwanted
    assert terms_sent(asking.value)[-1]["weight"] < 0
    expect(page.get_by_test_id("turn")).to_have_count(2)
    assert unwanted not in found(answered(page))


def test_a_picture_found_can_be_added_to_the_next_question(page: Page) -> None:
    turn = ask(page, "a red boat")
    added = found(turn)[0]
    hits(turn).first.hover()
    hits(turn).first.get_by_role("button", name="Add to the question").click()
    expect(chips(page).get_by_role("img")).to_have_count(1)
    with page.expect_request("**/api/ask") as asking:
        ask(page, "in the snow")
    assert {term.get("image_id") for term in terms_sent(asking.value)} >= {added}


def test_a_weight_can_be_typed_and_goes_below_zero(page: Page) -> None:
    attach(page, ("one.jpg", jpeg(SCENES[1])), ("two.jpg", jpeg(SCENES[2])))
    expect(chips(page)).to_have_count(2)
    weight(chips(page).last).fill("-0.5")
    with page.expect_request("**/api/ask") as asking:
        page.get_by_role("button", name="Send").click()
    assert sorted(term["weight"] for term in terms_sent(asking.value))[0] == -0.5
    ids = found(answered(page))
    assert str(drawing_id(2)) not in ids[:5]


def test_a_weight_can_be_dragged_but_not_beyond_one(page: Page) -> None:
    attach(page, ("one.jpg", jpeg(SCENES[1])))
    page.get_by_role("button", name="Send").click()
    answered(page).get_by_role("button", name="Edit the question").click()
    field = weight(chips(page))
    place = field.bounding_box()
    assert place is not None
    middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 500, middle[1], steps=5)
    page.mouse.up()
    expect(field).to_have_value("-1")


def test_a_question_can_be_edited_and_a_part_removed(page: Page) -> None:
    attach(page, ("one.jpg", jpeg(SCENES[1])))
    turn = ask(page, caption(SCENES[7]))
    turn.get_by_role("button", name="Edit the question").click()
    expect(question_box(page)).to_have_value(caption(SCENES[7]))
    page.get_by_role("button", name="Remove one.jpg").click()
    with page.expect_request("**/api/ask") as asking:
        question_box(page).press("Enter")
    (term,) = terms_sent(asking.value)
    assert (term["text"], term["weight"]) == (caption(SCENES[7]), 1)


@pytest.mark.parametrize("name", ["More like this", "Less like this", "Add to the question"])
def test_the_lightbox_steers_too(page: Page, name: str) -> None:
    turn = ask(page, "a red boat")
    lightbox = open_picture(hits(turn).nth(2))
    lightbox.get_by_role("button", name=name).click()
    expect(lightbox).to_be_hidden()
    if name == "Add to the question":
        expect(chips(page).get_by_role("img")).to_have_count(1)
    else:
        expect(page.get_by_test_id("turn")).to_have_count(2)
        answered(page)
