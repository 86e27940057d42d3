"""The conversation is kept in the browser, and forgotten when asked; one that keeps nothing is survived."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, jpeg
from tests.e2e.steps import answered, ask, attach, found, hits

KEPT = """async () => {
    const names = (await indexedDB.databases()).map((each) => each.name);
    let kept = 0;
    for (const name of names) {
        const database = await new Promise((resolve, reject) => {
            const request = indexedDB.open(name);
            request.onsuccess = () => resolve(request.result);
            request.onerror = () => reject(request.error);
        });
        for (const store of database.objectStoreNames) kept += await new Promise((resolve) => {
            const counting = database.transaction(store).objectStore(store).count();
            counting.onsuccess = () => resolve(counting.result);
        });
        database.close();
    }
    return kept;
}"""
"""How many records the browser holds."""
FORBIDDEN = """Object.defineProperty(window, "indexedDB", {
    value: { open() { throw new DOMException("no", "SecurityError"); } }
});"""
FORBIDDEN_CHOICES = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });"""
FULL = """IDBObjectStore.prototype.put = function () {
    throw new DOMException("no room", "QuotaExceededError");
};"""


def test_the_conversation_is_there_after_a_reload(page: Page) -> None:
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    before = found(ask(page, "at night"))
    ask(page, "a red boat")
    page.reload()
    turn = answered(page, 0)
    expect(page.get_by_test_id("turn")).to_have_count(2)
    expect(turn.get_by_test_id("question-bubble")).to_contain_text("at night")
    mine = turn.get_by_test_id("question-bubble").get_by_role("img")
    expect(mine).to_be_visible()
    assert mine.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert found(turn) == before


def test_the_conversation_goes_on_after_a_reload(page: Page) -> None:
    ask(page, "a red boat")
    page.reload()
    answered(page)
    ask(page, "snow")
    expect(page.get_by_test_id("turn")).to_have_count(2)


def test_clearing_asks_first_and_then_forgets_the_pictures_too(page: Page) -> None:
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    ask(page, "at night")
    page.wait_for_function(f"async () => (await ({KEPT})()) > 0")
    page.get_by_role("button", name="Clear history").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_test_id("turn")).to_have_count(1)
    page.get_by_role("button", name="Clear history").click()
    page.get_by_role("dialog").get_by_role("button").last.click()
    expect(page.get_by_test_id("turn")).to_have_count(0)
    expect(page.get_by_test_id("empty-state")).to_be_visible()
    page.wait_for_function(f"async () => (await ({KEPT})()) === 0")
    page.reload()
    expect(page.get_by_test_id("empty-state")).to_be_visible()


@pytest.mark.parametrize("trouble", [FORBIDDEN, FULL], ids=["forbidden", "full"])
def test_a_browser_that_keeps_nothing_is_told_of_and_survived(open_page: OpenPage, trouble: str) -> None:
    page = open_page(script=trouble)
    hits(ask(page, "a red boat"))
    expect(page.get_by_test_id("notice")).to_contain_text("history")
    ask(page, "snow")
    expect(page.get_by_test_id("turn")).to_have_count(2)


def test_a_browser_that_forbids_every_storage_is_survived(open_page: OpenPage) -> None:
    page = open_page(script=FORBIDDEN_CHOICES + FORBIDDEN)
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("combobox", name="Language").select_option("vi")
    page.get_by_role("combobox", name="Ngôn ngữ").select_option("en")
    ask(page, "a red boat")
