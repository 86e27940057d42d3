"""The page speaks English and Vietnamese: as the browser asks for, until somebody chooses."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, caption
from tests.e2e.steps import answered, ask, question_box


@pytest.mark.parametrize(("locale", "send"), [("en-GB", "Send"), ("vi-VN", "Gửi"), ("fr-FR", "Send")])
def test_the_browser_decides_first(open_page: OpenPage, locale: str, send: str) -> None:
    expect(open_page(locale=locale).get_by_role("button", name=send, exact=True)).to_be_visible()


def test_a_choice_changes_everything_at_once_and_is_remembered(page: Page) -> None:
    turn = ask(page, "a red boat")
    english = turn.inner_text()
    page.get_by_role("combobox", name="Language").select_option("vi")
    expect(page.get_by_role("button", name="Gửi", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "vi")
    assert page.get_by_test_id("turn").inner_text() != english
    page.reload()
    expect(page.get_by_role("button", name="Gửi", exact=True)).to_be_visible()


def test_answers_are_in_the_language_chosen(open_page: OpenPage) -> None:
    page = open_page(locale="vi-VN")
    box = page.get_by_role("textbox").first
    box.fill(caption(SCENES[7], "vi"))
    box.press("Enter")
    expect(page.get_by_test_id("answer").get_by_text("ảnh").first).to_be_visible()


def test_the_empty_page_has_examples_in_both_languages(page: Page) -> None:
    examples = page.get_by_test_id("empty-state").get_by_role("button")
    assert [text.isascii() for text in examples.all_inner_texts()].count(True) >= 2
    assert [text.isascii() for text in examples.all_inner_texts()].count(False) >= 2
    examples.first.click()
    answered(page)
    expect(page.get_by_test_id("empty-state")).to_be_hidden()
    expect(question_box(page)).to_have_value("")
