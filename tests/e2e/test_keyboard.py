"""Everything can be done without a mouse, and the focus is always seen."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.steps import answered, ask, found, hits, open_picture, question_box, terms_sent

FOCUSED = """() => {
    const { activeElement: element } = document;
    if (!element || element === document.body) return null;
    element.scrollIntoView({ block: "nearest", behavior: "instant" });
    const { left, top, right, bottom } = element.getBoundingClientRect();
    const [x, y] = [Math.max(0, left - 6), Math.max(0, top - 6)];
    const [width, height] = [Math.min(innerWidth, right + 6) - x, Math.min(innerHeight, bottom + 6) - y];
    const clip = { x, y, width, height };
    return { name: element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 40), clip };
}"""


def tab_through(page: Page, most: int) -> list[str]:
    """Press Tab as often, and return what had the focus; fail on what looks the same without it."""
    names = []
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            continue
        with_focus = page.screenshot(clip=focused["clip"], animations="disabled")
        page.evaluate("(window.left = document.activeElement).blur()")
        without = page.screenshot(clip=focused["clip"], animations="disabled")
        page.evaluate("window.left.focus({ focusVisible: true })")
        assert with_focus != without, f"{focused['name']} does not show that it has the focus"
        names.append(focused["name"])
    return names


def test_the_first_stop_leads_to_the_question(page: Page) -> None:
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the question")
    page.evaluate("document.activeElement.blur()")
    skip.focus()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(question_box(page)).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_focus_is_always_seen(open_page: OpenPage, theme: str) -> None:
    page = open_page(color_scheme=theme)
    ask(page, "a red boat")
    page.get_by_role("link", name="Skip to the question").focus()
    names = tab_through(page, 24)
    for wanted in ("Theme", "Language", "Scores", "Copy", "Question", "Attach pictures"):
        assert any(wanted in name for name in names), (wanted, names)


def test_arrow_keys_go_from_picture_to_picture(page: Page) -> None:
    turn = ask(page, "a red boat")
    hits(turn).first.get_by_role("link").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(hits(turn).nth(2).get_by_role("link")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    expect(hits(turn).first.get_by_role("link")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(hits(turn).first.get_by_role("checkbox")).to_be_checked()
    expect(page.get_by_test_id("selection-bar")).to_be_visible()


def test_a_whole_conversation_without_a_mouse(page: Page) -> None:
    expect(question_box(page)).to_be_focused()
    page.keyboard.type("a red boat")
    page.keyboard.press("Enter")
    turn = answered(page)
    hits(turn).first.get_by_role("link").focus()
    page.keyboard.press("Enter")
    lightbox = page.get_by_role("dialog", name="Picture")
    expect(lightbox).to_be_visible()
    page.keyboard.press("ArrowRight")
    lightbox.get_by_role("button", name="More like this").focus()
    with page.expect_request("**/api/ask") as asking:
        page.keyboard.press("Enter")
    assert terms_sent(asking.value)[-1]["image_id"] == found(turn)[1]
    answered(page)


def test_weights_and_balance_follow_the_arrow_keys(page: Page) -> None:
    turn = ask(page, "a red boat")
    lightbox = open_picture(hits(turn).first)
    lightbox.get_by_role("button", name="Add to the question").press("Enter")
    weight = page.get_by_test_id("chip").last.get_by_role("spinbutton")
    before = float(weight.input_value())
    weight.press("ArrowDown")
    expect(weight).to_have_value(f"{before - 0.05:g}")
    slider = page.get_by_role("slider", name="Balance of words and pictures")
    slider.press("End")
    expect(page.get_by_text("Only the words count.")).to_be_visible()


def test_escape_closes_the_filters_and_stops_nothing(page: Page) -> None:
    ask(page, "a red boat")
    page.get_by_role("button", name="Filters").press("Enter")
    sort = page.get_by_role("combobox", name="Collection")
    sort.focus()
    page.keyboard.press("Escape")
    expect(sort).to_be_hidden()
    expect(page.get_by_role("button", name="Filters")).to_be_focused()
