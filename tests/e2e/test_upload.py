"""Pictures are brought into a collection from the page, each with its captions and its progress."""

from playwright.sync_api import Locator, Page, expect

from app.settings import Settings
from embedding.encoder import Encoder
from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, caption, jpeg
from tests.e2e.site import Site, serve
from tests.e2e.steps import as_file, ask, found, hits
from tests.e2e.troubles import Troubles


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    with page.expect_file_chooser() as choosing:
        page.get_by_text("Choose pictures", exact=True).click()
    choosing.value.set_files([as_file(name, data) for name, data in files])


def send(page: Page) -> None:
    page.get_by_role("button", name="Upload", exact=False).last.click()


def row(page: Page, name: str) -> Locator:
    return page.get_by_test_id("upload").filter(has_text=name)


def test_uploaded_pictures_are_found_by_their_looks_with_their_captions(
    open_page: OpenPage, own_site: Site
) -> None:
    page = open_page("/#/upload", at=own_site)
    choose(page, ("one.jpg", jpeg(SCENES[1])), ("two.jpg", jpeg(SCENES[2])))
    page.get_by_role("combobox", name="Collection").fill("holidays")
    page.get_by_role("textbox", name="Captions of one.jpg").fill("my own words\nand more of them")
    send(page)
    for name in ("one.jpg", "two.jpg"):
        expect(row(page, name)).to_contain_text("In the gallery")
    page.get_by_role("link", name="Ask").click()
    turn = ask(page, caption(SCENES[1]))
    assert len(found(turn)) == 2
    expect(hits(turn).first).to_contain_text("my own words")


def test_each_picture_shows_how_far_it_is(open_page: OpenPage, own_site: Site) -> None:
    page = open_page("/#/upload", at=own_site)
    page.evaluate("""() => {
        window.bars = new Set();
        new MutationObserver(() => {
            for (const bar of document.querySelectorAll("progress"))
                if (bar.checkVisibility()) window.bars.add(bar.getAttribute("aria-label"));
        }).observe(document.body, { childList: true, subtree: true, attributes: true });
    }""")
    choose(page, ("one.jpg", jpeg(SCENES[1])), ("two.jpg", jpeg(SCENES[2])))
    send(page)
    expect(row(page, "two.jpg")).to_contain_text("In the gallery")
    assert page.evaluate("[...window.bars].sort()") == ["Upload of one.jpg", "Upload of two.jpg"]


def test_a_picture_that_is_there_already_is_said_to_be(open_page: OpenPage, own_site: Site) -> None:
    page = open_page("/#/upload", at=own_site)
    for words in ("In the gallery", "already"):
        choose(page, ("one.jpg", jpeg(SCENES[1])))
        send(page)
        expect(row(page, "one.jpg").last).to_contain_text(words)
        page.reload()


def test_a_broken_file_fails_alone(open_page: OpenPage, own_site: Site, troubles: Troubles) -> None:
    troubles.expect("status of 4")
    page = open_page("/#/upload", at=own_site)
    choose(page, ("broken.jpg", b"no picture"), ("two.jpg", jpeg(SCENES[2])))
    send(page)
    expect(row(page, "two.jpg")).to_contain_text("In the gallery")
    expect(row(page, "broken.jpg").get_by_role("button", name="Try again")).to_be_visible()


def test_too_large_a_file_is_refused_with_the_limit(
    open_page: OpenPage, own_settings: Settings, encoder: Encoder
) -> None:
    with serve(own_settings.replace(max_upload_bytes=100_000), encoder) as small:
        page = open_page("/#/upload", at=small)
        choose(page, ("large.jpg", jpeg(SCENES[1]) + bytes(100_000)))
        expect(row(page, "large.jpg")).to_contain_text("Too large")


def test_the_key_is_asked_for_where_one_is_needed(
    open_page: OpenPage, own_settings: Settings, encoder: Encoder, troubles: Troubles
) -> None:
    troubles.expect("status of 40[13]")
    with serve(own_settings.replace(write_key="open sesame"), encoder) as locked:
        page = open_page("/#/upload", at=locked)
        choose(page, ("one.jpg", jpeg(SCENES[1])))
        key = page.get_by_label("API key")
        key.fill("wrong")
        send(page)
        expect(row(page, "one.jpg")).to_contain_text("key")
        key.fill("open sesame")
        row(page, "one.jpg").get_by_role("button", name="Try again").click()
        expect(row(page, "one.jpg")).to_contain_text("In the gallery")
