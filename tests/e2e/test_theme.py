"""Light or dark: the system's choice first, then the visitor's, remembered."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage

BRIGHTNESS = """() => {
    const parts = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number);
    return (parts[0] + parts[1] + parts[2]) / 3;
}"""


def is_dark(page: Page) -> bool:
    return bool(page.evaluate(BRIGHTNESS) < 128)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_system_decides_first(open_page: OpenPage, theme: str) -> None:
    assert is_dark(open_page(color_scheme=theme)) == (theme == "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_choice_is_remembered(open_page: OpenPage, theme: str) -> None:
    page = open_page(color_scheme=theme)
    page.get_by_role("button", name="Theme").click()
    page.wait_for_function(f"() => (({BRIGHTNESS})() < 128) === {str(theme == 'light').lower()}")
    page.reload()
    assert is_dark(page) == (theme == "light")


def test_motion_is_reduced_where_the_system_asks_for_it(open_page: OpenPage) -> None:
    page = open_page(reduced_motion="reduce")
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    longest = page.evaluate("""() => Math.max(...[...document.querySelectorAll("*")].flatMap((element) => {
        const style = getComputedStyle(element);
        return [style.transitionDuration, style.animationDuration].flatMap((all) => all.split(","))
            .map((each) => each.trim().endsWith("ms") ? parseFloat(each) : 1000 * parseFloat(each));
    }))""")
    assert longest <= 10
