"""A picture found, as large as the window, with all that is known of it."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.drawings import SCENES, caption, captions_of, drawing_id, indexed_file
from tests.e2e.steps import ask, found, hits, open_picture


def test_it_shows_captions_size_score_and_file_name(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    lightbox = open_picture(hits(turn).first)
    for each in captions_of(SCENES[7]):
        expect(lightbox).to_contain_text(each.body)
    expect(lightbox).to_contain_text("scene-07.jpg")
    expect(lightbox).to_contain_text("160 × 160")
    expect(lightbox).to_contain_text(re.compile(r"0\.\d\d"))
    expect(lightbox).to_contain_text("8 January 2024")
    expect(lightbox).to_contain_text(SCENES[7].place)
    image = lightbox.get_by_role("img").first
    expect(image).to_have_attribute("src", re.compile(f"{drawing_id(7)}/file"))
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 160


def test_arrow_keys_turn_and_escape_closes(page: Page) -> None:
    turn = ask(page, "a red boat")
    ids = found(turn)
    lightbox = open_picture(hits(turn).nth(1))
    image = lightbox.get_by_role("img").first
    for key, place in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        expect(image).to_have_attribute("src", re.compile(ids[place]))
    page.keyboard.press("Escape")
    expect(lightbox).to_be_hidden()


def test_buttons_turn_and_close(page: Page) -> None:
    turn = ask(page, "a red boat")
    ids = found(turn)
    lightbox = open_picture(hits(turn).first)
    lightbox.get_by_role("button", name="Next picture").click()
    expect(lightbox.get_by_role("img").first).to_have_attribute("src", re.compile(ids[1]))
    lightbox.get_by_role("button", name="Previous picture").click()
    expect(lightbox.get_by_role("img").first).to_have_attribute("src", re.compile(ids[0]))
    lightbox.get_by_role("button", name="Close").click()
    expect(lightbox).to_be_hidden()


def test_the_focus_stays_inside_and_returns_to_the_picture(page: Page) -> None:
    turn = ask(page, "a red boat")
    link = hits(turn).first.get_by_role("link")
    link.focus()
    page.keyboard.press("Enter")
    lightbox = page.get_by_role("dialog", name="Picture")
    expect(lightbox).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        assert lightbox.evaluate("dialog => dialog.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(link).to_be_focused()


def test_the_original_file_can_be_downloaded(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    lightbox = open_picture(hits(turn).first)
    with page.expect_download() as downloading:
        lightbox.get_by_role("button", name="Download").click()
    assert downloading.value.suggested_filename == "scene-07.jpg"
    assert downloading.value.path().read_bytes() == indexed_file(7)
