"""A box on a picture, with the mouse or by keyboard, searches by that part of it."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, jpeg
from tests.e2e.steps import answered, ask, attach, found, hits, open_picture, terms_sent


def draw_box(page: Page) -> None:
    """Drag from a quarter to three quarters of the picture, and take the box."""
    chooser = page.get_by_role("dialog").last
    place = chooser.get_by_role("img").bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 4, place["y"] + place["height"] / 4)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 3 / 4, place["y"] + place["height"] / 2, steps=5)
    page.mouse.up()
    chooser.get_by_role("button", name="Use this part").click()


def test_a_part_of_a_picture_found_is_searched_by(page: Page, open_page: OpenPage) -> None:
    turn = ask(page, "a red boat")
    lightbox = open_picture(hits(turn).first)
    lightbox.get_by_role("button", name="Search by a part of it").click()
    with page.expect_request("**/api/ask") as asking:
        draw_box(page)
    (term,) = terms_sent(asking.value)
    assert term["image_id"] == found(turn)[0]
    assert term["region"] == pytest.approx({"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.25}, abs=0.02)
    expect(page.get_by_test_id("turn")).to_have_count(2)
    before = found(answered(page))
    assert found(answered(open_page(page.url))) == before


def test_a_part_of_an_attached_picture_is_searched_by(page: Page) -> None:
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    page.get_by_role("button", name="Choose a region of mine.jpg").click()
    draw_box(page)
    with page.expect_request("**/api/ask") as asking:
        page.get_by_role("button", name="Send").click()
    (term,) = terms_sent(asking.value)
    assert term["region"] == pytest.approx({"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.25}, abs=0.02)
    assert len(found(answered(page))) == 24


def test_a_box_is_chosen_by_keyboard(page: Page) -> None:
    lightbox = open_picture(hits(ask(page, "a red boat")).first)
    lightbox.get_by_role("button", name="Search by a part of it").click()
    chooser = page.get_by_role("dialog").last
    expect(chooser).to_contain_text("50")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    with page.expect_request("**/api/ask") as asking:
        page.keyboard.press("Enter")
    (term,) = terms_sent(asking.value)
    assert term["region"] == pytest.approx({"x": 0.27, "y": 0.25, "width": 0.5, "height": 0.52}, abs=0.001)
    answered(page)


def test_escape_leaves_the_box_and_only_the_box(page: Page) -> None:
    lightbox = open_picture(hits(ask(page, "a red boat")).first)
    lightbox.get_by_role("button", name="Search by a part of it").click()
    expect(page.get_by_role("dialog")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(1)
    expect(page.get_by_test_id("turn")).to_have_count(1)
