"""On a phone, down to 320 pixels: nothing is cut off, and fingers do what mice do."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.steps import answered, ask, hits, open_picture, question_box

PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
WIDTH = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
CUT_OFF = """() => [...document.querySelectorAll("button, a, input, select, textarea, summary, h1, h2, p")]
    .filter((element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
    .filter((element) => !element.closest(".visually-hidden, .skip-link, [data-scrolls], .grid"))
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 120))"""


@pytest.fixture
def phone(open_page: OpenPage) -> Page:
    return open_page(**PHONE)


def fits(page: Page) -> None:
    assert page.evaluate(WIDTH) <= 320
    assert page.evaluate(CUT_OFF) == []


def test_the_empty_page_fits(phone: Page) -> None:
    expect(phone.get_by_test_id("empty-state")).to_be_visible()
    fits(phone)


def test_an_answer_fits(phone: Page) -> None:
    turn = ask(phone, "a red boat at night " * 6)
    turn.get_by_text("How this was found").click()
    fits(phone)


def test_the_first_answer_is_seen_from_its_question_on(phone: Page) -> None:
    turn = ask(phone, "a red boat")
    expect(turn.get_by_test_id("question-bubble")).to_be_in_viewport()


def test_what_can_be_done_with_a_picture_opens_with_a_tap(phone: Page) -> None:
    tile = hits(ask(phone, "a red boat")).first
    tile.get_by_role("button", name="What to do with").tap()
    tile.get_by_role("button", name="More like this").tap()
    expect(phone.get_by_test_id("turn")).to_have_count(2)
    answered(phone)


def test_an_answer_can_be_a_row_to_swipe_through(phone: Page) -> None:
    turn = ask(phone, "a red boat")
    turn.get_by_role("button", name="Slider").tap()
    fits(phone)
    expect(hits(turn).nth(4)).not_to_be_in_viewport()
    swipe(phone, hits(turn).first.bounding_box() or {}, by=-200)
    expect(hits(turn).first).not_to_be_in_viewport()


def test_a_long_word_fits(phone: Page) -> None:
    ask(phone, "boat" * 60)
    fits(phone)


def test_the_lightbox_fits_and_is_swiped(phone: Page) -> None:
    lightbox = open_picture(hits(ask(phone, "a red boat")).first)
    fits(phone)
    image = lightbox.get_by_role("img").first
    before = image.get_attribute("src") or ""
    swipe(phone, image.bounding_box() or {}, by=-150)
    expect(image).not_to_have_attribute("src", before)


@pytest.mark.parametrize("room", ["upload", "collections"])
def test_the_other_rooms_fit(open_page: OpenPage, room: str) -> None:
    page = open_page(f"/#/{room}", **PHONE)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    fits(page)


def test_the_question_stays_within_reach(phone: Page) -> None:
    ask(phone, "a red boat")
    phone.mouse.wheel(0, 600)
    expect(question_box(phone)).to_be_in_viewport()


def swipe(page: Page, place: dict[str, float], *, by: float) -> None:
    """Move a finger sideways over the middle of a place."""
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    session = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        *(("touchMove", [{"x": x + by * share / 5, "y": y}]) for share in range(1, 6)),
        ("touchEnd", []),
    ):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
