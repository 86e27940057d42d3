"""What a visitor does and sees, by the roles and names that a screen reader tells."""

import json
from typing import Any

from playwright.sync_api import Locator, Page, Request, expect

PAGE_SIZE = 24


def question_box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Question", exact=True)


def ask(page: Page, words: str) -> Locator:
    """Ask in words, and return the finished answer's turn."""
    turns = page.get_by_test_id("turn").count()
    question_box(page).fill(words)
    question_box(page).press("Enter")
    expect(page.get_by_test_id("turn")).to_have_count(turns + 1)
    return answered(page)


def answered(page: Page, number: int | None = None) -> Locator:
    """Return a turn (the last one unless told) once its answer is complete."""
    turns = page.get_by_test_id("turn")
    expect(turns).not_to_have_count(0)
    turn = turns.nth(turns.count() - 1 if number is None else number)
    expect(turn.get_by_text("How this was found")).to_be_visible()
    expect(turn.get_by_test_id("typing")).to_have_count(0)
    return turn


def hits(turn: Locator) -> Locator:
    return turn.get_by_test_id("hit")


def hit_of(turn: Locator, image_id: object) -> Locator:
    return turn.locator(f'[data-testid="hit"][data-id="{image_id}"]')


def open_picture(hit: Locator) -> Locator:
    """Press a picture found, and return the lightbox."""
    hit.get_by_role("link").click()
    lightbox = hit.page.get_by_role("dialog", name="Picture")
    expect(lightbox).to_be_visible()
    return lightbox


def terms_sent(request: Request) -> list[dict[str, Any]]:
    """Return the parts of a question as they were sent."""
    terms: list[dict[str, Any]] = json.loads(request.post_data or "")["terms"]
    return terms


def found(turn: Locator) -> list[str]:
    """Return the ids of the first page of pictures found, best first; more come by themselves."""
    return all_found(turn)[:PAGE_SIZE]


def all_found(turn: Locator) -> list[str]:
    """Return the ids of all pictures shown so far, best first."""
    ids: list[str] = hits(turn).evaluate_all("hits => hits.map(hit => hit.dataset.id)")
    return ids


def wait_until_said(page: Page, words: str) -> None:
    """Wait until a screen reader was told these words, now or before."""
    page.wait_for_function("words => window.said.some((text) => text.includes(words))", arg=words)


def attach(page: Page, *files: tuple[str, bytes]) -> None:
    """Attach pictures, each a name and its bytes, with the button."""
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Attach pictures").click()
    choosing.value.set_files([as_file(name, data) for name, data in files])


def as_file(name: str, data: bytes, kind: str = "image/jpeg") -> dict[str, Any]:
    """Return a file as Playwright hands it to a page."""
    return {"name": name, "mimeType": kind, "buffer": data}
