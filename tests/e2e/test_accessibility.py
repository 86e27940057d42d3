"""axe-core finds nothing wrong in either theme, and everything can be done without a mouse."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.steps import ask, hits, open_picture, question_box
from tests.e2e.troubles import Troubles

themes = pytest.mark.parametrize("theme", ["light", "dark"])


def check(page: Page) -> None:
    """Fail, naming rule and element, on anything that axe-core objects to."""
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})))")
    results = Axe().run(page, options={"resultTypes": ["violations"]})
    assert results.violations_count == 0, results.generate_report()


@themes
def test_the_empty_state(open_page: OpenPage, theme: str) -> None:
    page = open_page(color_scheme=theme)
    expect(page.get_by_test_id("empty-state")).to_be_visible()
    check(page)


@themes
def test_an_answer(open_page: OpenPage, theme: str) -> None:
    page = open_page(color_scheme=theme)
    turn = ask(page, "a red boat at night")
    turn.get_by_text("How this was found").click()
    check(page)


@themes
def test_the_lightbox(open_page: OpenPage, theme: str) -> None:
    page = open_page(color_scheme=theme)
    open_picture(hits(ask(page, "a red boat at night")).first)
    check(page)


@themes
@pytest.mark.parametrize("room", ["upload", "collections"])
def test_the_other_rooms(open_page: OpenPage, theme: str, room: str) -> None:
    page = open_page(f"/#/{room}", color_scheme=theme)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    check(page)


@themes
def test_an_error(open_page: OpenPage, troubles: Troubles, theme: str) -> None:
    troubles.expect("422")
    page = open_page(color_scheme=theme)
    page.route("**/api/ask", lambda route: route.fulfill(status=422, json={"title": "?", "detail": "no"}))
    question_box(page).fill("a red boat")
    question_box(page).press("Enter")
    expect(page.get_by_test_id("error")).to_be_visible()
    check(page)
