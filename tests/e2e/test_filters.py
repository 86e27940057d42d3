"""What is answered can be narrowed to a collection, an attribute and days, and sorted by date."""

import re
from datetime import timedelta

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import DRAWINGS, FIRST_DAY, SCENES, drawing_id
from tests.e2e.steps import answered, ask, found, wait_until_said

NUMBER_OF = {str(drawing_id(number)): number for number in range(len(SCENES))}


def open_filters(page: Page) -> None:
    page.get_by_role("button", name="Filters").click()


def numbers(turn: Locator) -> list[int]:
    """Return the scenes found, by number, best first."""
    return [NUMBER_OF[each] for each in found(turn)]


def test_only_a_collection_answers(page: Page) -> None:
    open_filters(page)
    page.get_by_role("combobox", name="Collection").select_option(label="sketches (20)")
    assert sorted(numbers(ask(page, "a red boat"))) == list(range(len(DRAWINGS), len(SCENES)))


def test_only_pictures_with_an_attribute_answer(page: Page) -> None:
    open_filters(page)
    place = page.get_by_role("combobox", name="place")
    place.select_option(label=place.get_by_role("option", name="night").inner_text())
    numbers_found = numbers(ask(page, "a red boat"))
    assert {SCENES[number].place for number in numbers_found} == {"night"}


def test_only_pictures_of_some_days_answer(page: Page) -> None:
    open_filters(page)
    page.get_by_label("Taken from").fill(f"{FIRST_DAY + timedelta(days=10):%Y-%m-%d}")
    page.get_by_label("Taken until").fill(f"{FIRST_DAY + timedelta(days=12):%Y-%m-%d}")
    page.get_by_label("Taken until").press("Tab")
    assert sorted(numbers(ask(page, "a red boat"))) == [10, 11, 12]


def test_the_best_can_be_sorted_by_date(page: Page) -> None:
    open_filters(page)
    page.get_by_role("combobox", name="Sort by").select_option(label="Newest")
    newest = numbers(ask(page, "a red boat"))
    assert newest == sorted(newest, reverse=True)
    page.get_by_role("combobox", name="Sort by").select_option(label="Oldest")
    oldest = page.get_by_test_id("turn").filter(has_text="oldest first")
    expect(oldest).to_be_visible()
    assert numbers(answered(page)) == sorted(numbers(answered(page)))


def test_filters_are_shown_shared_and_taken_away(page: Page, open_page: OpenPage) -> None:
    open_filters(page)
    page.get_by_role("combobox", name="Collection").select_option(label="sketches (20)")
    turn = ask(page, "a red boat")
    expect(turn.get_by_test_id("question-bubble")).to_contain_text("sketches")
    other = open_page(page.url)
    assert found(answered(other)) == found(turn)
    other.get_by_role("button", name="Remove filter sketches").click()
    assert 0 in {number // len(DRAWINGS) for number in numbers(ask(other, "a red boat"))}


def test_filters_that_leave_nothing_say_so_and_offer_a_way_on(page: Page, open_page: OpenPage) -> None:
    page = open_page("/#/?text=a+red+boat&from=2031-01-01T00:00:00Z")
    nothing = page.get_by_test_id("no-results")
    expect(nothing).to_be_visible()
    wait_until_said(page, "No picture")
    nothing.get_by_role("button", name="Ask without filters").click()
    assert len(found(answered(page))) > 0
    expect(page).to_have_url(re.compile(r"#/\?text=a\+red\+boat$"))
