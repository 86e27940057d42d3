"""Captions, file names, questions and attributes are text wherever they are shown, whatever they hold."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Dialog, Page, expect

from app.indexing import index_folder
from app.service import Service
from db.storing import image_id, replace_attributes
from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import SCENES, jpeg
from tests.e2e.payloads import PAYLOADS
from tests.e2e.site import Site
from tests.e2e.steps import ask, hits, open_picture

FOREIGN = """() => [...document.querySelectorAll(
    "#injected, body script, iframe, object, embed, base, marquee, math, [srcdoc], [onerror], [onload], "
    + "[onfocus], [onclick], [ontoggle], [onbegin], [onstart], [onmouseover], [href^='javascript:' i], "
    + "[action], meta[http-equiv=refresh], body link, body style"
)].map((element) => element.outerHTML)"""
"""What no room of the page ever makes."""


def file_name(number: int) -> str:
    """Return a payload as a file name; a name cannot hold a slash, so its look-alike stands for it."""
    return PAYLOADS[number].replace("/", "\u2215") + ".jpg"


async def index_payloads(service: Service, folder: Path, count: int) -> None:
    """Index pictures, each with a payload as its caption, its file's name and its attributes."""
    folder.mkdir()
    ids: dict[UUID, str] = {}
    for number, payload in enumerate(PAYLOADS[:count]):
        data = jpeg(SCENES[number])
        (folder / file_name(number)).write_bytes(data)
        ids[image_id("payloads", data)] = payload
    captions = {file_name(number): [payload] for number, payload in enumerate(PAYLOADS[:count])}
    report = await index_folder(
        folder, encoder=service.encoder, pool=service.writing_pool, collection="payloads", captions=captions
    )
    assert report.indexed == count, report
    async with service.writing_pool.connection() as connection:
        for each, payload in ids.items():
            await replace_attributes(connection, each, {"note": payload, payload: "as a key"})


@pytest.fixture
def hostile_page(
    open_page: OpenPage, own_site: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page over as many payloads as the test asks for; it must neither open a dialog nor be led away."""
    own_site.run(index_payloads(own_site.service, tmp_path / "payloads", request.param))
    page = open_page(at=own_site)
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    yield page
    assert dialogs == []
    assert page.url.startswith(own_site.url)


over_all = pytest.mark.parametrize("hostile_page", [len(PAYLOADS)], indirect=True)
over_one = pytest.mark.parametrize("hostile_page", [1], indirect=True)


def test_fifty_payloads_are_different() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) == 50


@over_all
def test_captions_file_names_and_attributes_are_shown_as_they_are(hostile_page: Page) -> None:
    page = hostile_page
    turn = ask(page, "a red boat")
    hits(turn).last.scroll_into_view_if_needed()
    expect(hits(turn)).to_have_count(len(PAYLOADS))
    hits(turn).first.scroll_into_view_if_needed()
    lightbox = open_picture(hits(turn).first)
    shown = set()
    for _ in PAYLOADS:
        shown.add(lightbox.text_content() or "")
        assert page.evaluate(FOREIGN) == []
        page.keyboard.press("ArrowRight")
    text = "\n".join(shown)
    for number, payload in enumerate(PAYLOADS):
        assert payload in text
        assert file_name(number) in text


@over_all
def test_attributes_are_offered_as_they_are(hostile_page: Page) -> None:
    page = hostile_page
    ask(page, "a red boat")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("combobox", name="note")).to_be_visible()
    assert page.evaluate(FOREIGN) == []
    offered = page.get_by_role("combobox").locator("option").all_text_contents()
    assert any(payload in option for payload in PAYLOADS for option in offered)


@over_one
@pytest.mark.parametrize("half", [PAYLOADS[:25], PAYLOADS[25:]], ids=["first half", "second half"])
def test_questions_are_shown_as_they_are(hostile_page: Page, half: tuple[str, ...]) -> None:
    page = hostile_page
    for payload in half:
        turn = ask(page, payload)
        expect(turn.get_by_test_id("question-bubble")).to_contain_text(payload)
        assert page.evaluate(FOREIGN) == []
    page.reload()  # from the history now
    expect(page.get_by_test_id("question-bubble").last).to_contain_text(half[-1])
    assert page.evaluate(FOREIGN) == []
