"""A question becomes a bubble, its answer streams in, and both can be stopped, copied and heard."""

import re
from collections.abc import Iterator, Sequence
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from embedding.encoder import Encoder
from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, caption, drawing_id
from tests.e2e.site import Site, serve
from tests.e2e.steps import answered, ask, found, hits, question_box, wait_until_said


class HeldEncoder:
    """The real encoder, but a question's words wait until they are let through."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.let_through = Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.let_through.wait(30)
        return self._encoder.encode_texts(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self._encoder.encode_images(images)


@pytest.fixture
def held(encoder: Encoder) -> HeldEncoder:
    return HeldEncoder(encoder)


@pytest.fixture
def held_site(site: Site, held: HeldEncoder) -> Iterator[Site]:
    """The drawings, behind an encoder that takes its time."""
    with serve(site.service.settings, held) as held_site:
        yield held_site
        held.let_through.set()


def test_words_find_the_picture_they_describe(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    expect(turn.get_by_test_id("question-bubble")).to_contain_text(caption(SCENES[7]))
    assert found(turn)[0] == str(drawing_id(7))
    first = hits(turn).first
    expect(first).to_contain_text(caption(SCENES[7]))
    assert first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_a_vietnamese_question_finds_the_same_picture(page: Page) -> None:
    assert found(ask(page, caption(SCENES[7], "vi")))[0] == str(drawing_id(7))


def test_the_answer_is_formatted_text_over_a_grid_of_pictures(page: Page) -> None:
    turn = ask(page, "a red boat at night")
    answer = turn.get_by_test_id("answer")
    expect(answer.locator("strong").first).to_be_visible()
    assert len(found(turn)) == 24


def test_questions_and_answers_follow_each_other(page: Page) -> None:
    ask(page, "a red boat")
    ask(page, "snow")
    bubbles = page.get_by_test_id("question-bubble")
    expect(bubbles).to_have_count(2)
    expect(bubbles.last).to_contain_text("snow")
    expect(bubbles.last).to_be_in_viewport()


def test_scores_are_shown_on_demand(page: Page) -> None:
    turn = ask(page, "a red boat")
    first = hits(turn).first
    expect(first.get_by_text("0.", exact=False)).to_be_hidden()
    page.get_by_role("button", name="Scores").click()
    expect(first.get_by_text("0.", exact=False)).to_be_visible()


def test_pictures_come_before_the_text_and_the_text_before_the_end(page: Page) -> None:
    page.evaluate("""() => {
        window.order = [];
        const look = () => {
            const seen = {
                hits: document.querySelector("[data-testid=hit]"),
                text: document.querySelector("[data-testid=answer] strong"),
                end: document.querySelector("[data-testid=answer] details"),
            };
            for (const [name, there] of Object.entries(seen))
                if (there && !window.order.includes(name)) window.order.push(name);
        };
        new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    }""")
    ask(page, "a red boat")
    assert page.evaluate("window.order") == ["hits", "text", "end"]


def test_it_shows_that_it_works_until_the_answer_is_there(
    open_page: OpenPage, held_site: Site, held: HeldEncoder
) -> None:
    page = open_page(at=held_site)
    question_box(page).fill("a red boat")
    question_box(page).press("Enter")
    expect(page.get_by_test_id("typing")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    held.let_through.set()
    answered(page)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_an_answer_can_be_stopped(open_page: OpenPage, held_site: Site, held: HeldEncoder, way: str) -> None:
    page = open_page(at=held_site)
    question_box(page).fill("a red boat")
    question_box(page).press("Enter")
    expect(page.get_by_test_id("typing")).to_be_visible()
    if way == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(page.get_by_test_id("typing")).to_have_count(0)
    expect(page.get_by_test_id("turn")).to_contain_text("Stopped")
    held.let_through.set()
    assert found(ask(page, caption(SCENES[7])))[0] == str(drawing_id(7))


def test_an_answer_can_be_copied(open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    turn = ask(page, caption(SCENES[7]))
    turn.get_by_role("button", name="Copy", exact=True).click()
    wait_until_said(page, "Copied")
    assert caption(SCENES[7]) in page.evaluate("navigator.clipboard.readText()")


def test_a_screen_reader_is_told_what_was_found(page: Page) -> None:
    ask(page, "a red boat")
    wait_until_said(page, "24 pictures found")


def test_what_happens_at_once_is_all_told(page: Page) -> None:
    page.evaluate("""async () => {
        const script = document.querySelector("script[type=module]").src;
        const { announce } = await import(new URL("announce.js", script).href);
        announce("pictures found");
        announce("more pictures");
    }""")
    wait_until_said(page, "pictures found")
    wait_until_said(page, "more pictures")


def test_how_it_was_found_can_be_unfolded(page: Page) -> None:
    turn = ask(page, "a red boat")
    fold = turn.locator("details").filter(has=page.get_by_text("How this was found"))
    fold.get_by_text("How this was found").click()
    expect(fold).to_contain_text("128 dimensions")
    expect(fold).to_contain_text(re.compile("ef_search|compared with every picture"))
    expect(fold.get_by_text("select", exact=False).first).to_be_visible()
