"""An answer goes on for as long as one scrolls, and nothing jumps on the way."""

from playwright.sync_api import Locator, Page, expect

from tests.e2e.drawings import SCENES
from tests.e2e.steps import all_found, ask, hits

SHIFTS = """() => {
    window.shifted = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: "layout-shift" });
}"""


def scroll_to_the_end(turn: Locator) -> None:
    """Turn the wheel as a reader does, until there is no more."""
    end = turn.get_by_text(f"That is all: {len(SCENES)} pictures.")
    while not end.count():
        turn.page.mouse.wheel(0, 300)
        turn.page.wait_for_timeout(50)


def test_every_picture_comes_once_while_one_scrolls(page: Page) -> None:
    turn = ask(page, "a red boat")
    scroll_to_the_end(turn)
    expect(hits(turn)).to_have_count(len(SCENES))
    assert len(set(all_found(turn))) == len(SCENES)


def test_nothing_jumps_while_pictures_load(page: Page) -> None:
    turn = ask(page, "a red boat")
    page.evaluate(SHIFTS)
    scroll_to_the_end(turn)
    expect(hits(turn)).to_have_count(len(SCENES))
    assert page.evaluate("window.shifted") < 0.01


def test_the_place_is_kept_when_one_comes_back_from_another_room(page: Page) -> None:
    turn = ask(page, "a red boat")
    hits(turn).nth(20).scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # the place is noted once scrolling has ended
    place = page.evaluate("scrollY")
    page.get_by_role("link", name="Collections").click()
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    page.go_back()
    expect(hits(turn).nth(20)).to_be_in_viewport()
    assert abs(page.evaluate("scrollY") - place) < 80
