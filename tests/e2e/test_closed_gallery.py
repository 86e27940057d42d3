"""A gallery that answers only to who has a key: the page asks for it, and then works as ever."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from app.keys import NewKey, create_key
from app.settings import Settings
from embedding.encoder import Encoder
from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, caption, index_drawings
from tests.e2e.site import Site, serve
from tests.e2e.steps import ask, hits
from tests.e2e.troubles import Troubles


@pytest.fixture
def closed_site(own_settings: Settings, encoder: Encoder) -> Iterator[Site]:
    with serve(own_settings.replace(open_reads=False), encoder) as site:
        site.run(index_drawings(site.service, own_settings.data_dir))
        yield site


def make_key(site: Site) -> str:
    async def make() -> NewKey:
        async with site.service.writing_pool.connection() as connection:
            return await create_key(connection, "visitor", "read")

    return site.run(make()).key


def enter(page: Page, key: str) -> None:
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Open the gallery").click()


def test_the_page_asks_for_a_key_and_then_shows_pictures(
    open_page: OpenPage, closed_site: Site, troubles: Troubles
) -> None:
    troubles.expect("401")
    page = open_page(at=closed_site)
    dialog = page.get_by_role("dialog", name="This gallery asks for a key")
    expect(dialog).to_be_visible()
    enter(page, "guess")
    expect(dialog.get_by_role("alert")).to_contain_text("not good")
    enter(page, make_key(closed_site))
    expect(dialog).to_be_hidden()
    turn = ask(page, caption(SCENES[1]))
    page.wait_for_function(
        "(image) => image.complete && image.naturalWidth > 0",
        arg=hits(turn).first.locator("img").element_handle(),
    )
    assert page.evaluate("document.cookie") == ""  # the key is out of the page's reach
    page.reload()
    expect(page.get_by_role("textbox", name="Question")).to_be_visible()
    expect(dialog).to_be_hidden()


def test_without_a_key_the_question_says_what_it_lacks(
    open_page: OpenPage, closed_site: Site, troubles: Troubles
) -> None:
    troubles.expect("401")
    page = open_page(at=closed_site)
    dialog = page.get_by_role("dialog", name="This gallery asks for a key")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("textbox", name="Question").fill("a boat")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    error = page.get_by_test_id("error")
    expect(error).to_contain_text("needs a key")
    error.get_by_role("button", name="Try again").click()
    expect(dialog).to_be_visible()
