"""The address holds the whole question: it can be shared, and the back button returns to it."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, caption, drawing_id, jpeg
from tests.e2e.steps import answered, ask, attach, found, hits


def test_a_shared_address_asks_the_same_question(page: Page, open_page: OpenPage) -> None:
    before = found(ask(page, caption(SCENES[7])))
    expect(page).to_have_url(re.compile("text="))
    turn = answered(open_page(page.url))
    expect(turn.get_by_test_id("question-bubble")).to_contain_text(caption(SCENES[7]))
    assert found(turn) == before


def test_a_shared_address_holds_an_uploaded_picture_too(page: Page, open_page: OpenPage) -> None:
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    before = found(ask(page, "at night"))
    expect(page).to_have_url(re.compile("vector="))
    assert found(answered(open_page(page.url))) == before


def test_a_shared_address_holds_weights_and_pictures_of_the_gallery(page: Page, open_page: OpenPage) -> None:
    turn = ask(page, "a red boat")
    hits(turn).first.hover()
    hits(turn).first.get_by_role("button", name="Less like this").click()
    expect(page.get_by_test_id("turn")).to_have_count(2)
    before = found(answered(page))
    assert found(answered(open_page(page.url))) == before


def test_the_back_button_returns_to_the_question_before(page: Page) -> None:
    ask(page, caption(SCENES[7]))
    first = page.url
    ask(page, caption(SCENES[9]))
    page.go_back()
    expect(page).to_have_url(first)
    turn = page.get_by_test_id("turn").filter(has_text=caption(SCENES[7])).first
    expect(turn.get_by_test_id("question-bubble")).to_be_in_viewport()
    page.go_forward()
    expect(page.get_by_test_id("question-bubble").filter(has_text=caption(SCENES[9]))).to_be_in_viewport()


def test_the_other_rooms_have_addresses(page: Page) -> None:
    ask(page, caption(SCENES[7]))
    page.get_by_role("link", name="Collections").click()
    expect(page).to_have_url(re.compile("#/collections"))
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    page.go_back()
    assert found(answered(page))[0] == str(drawing_id(7))


def test_an_address_that_makes_no_sense_asks_nothing(open_page: OpenPage) -> None:
    page = open_page("/#/?image=nobody&weight=7&vector=%00&sort=sideways")
    expect(page.get_by_test_id("empty-state")).to_be_visible()
    expect(page.get_by_test_id("turn")).to_have_count(0)
