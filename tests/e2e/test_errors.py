"""What goes wrong is said in plain words, with a way on."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from app.settings import Settings
from embedding.encoder import Encoder
from tests.e2e.conftest import OpenPage
from tests.e2e.site import Site, serve
from tests.e2e.steps import answered, ask, found, question_box, wait_until_said
from tests.e2e.troubles import Troubles


def answer_with(page: Page, status: int, times: int = 1_000, **headers: str) -> None:
    """Let questions fail so many times: what the service answers when it is overloaded, or behind a proxy."""
    problem = {"status": status, "title": "A title", "detail": "the service's own words"}
    page.route(
        "**/api/ask", lambda route: route.fulfill(status=status, headers=headers, json=problem), times=times
    )


def submit(page: Page, words: str) -> None:
    question_box(page).fill(words)
    question_box(page).press("Enter")


def test_a_service_that_is_gone_is_named_and_asked_again(
    open_page: OpenPage, site: Site, encoder: Encoder, troubles: Troubles
) -> None:
    troubles.expect("ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
    with serve(site.service.settings, encoder) as first:
        page = open_page(first.url)  # and not at=first: it stays when the service goes
        ask(page, "a red boat")
    submit(page, "snow")
    error = page.get_by_test_id("error")
    expect(error).to_contain_text("cannot be reached")
    expect(error).not_to_contain_text("fetch")
    port = int(first.url.rpartition(":")[2])
    with serve(site.service.settings.replace(port=port), encoder):
        error.get_by_role("button", name="Try again").click()
        assert len(found(answered(page))) == 24
        expect(error).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "words"),
    [(413, "smaller pictures"), (422, "the service's own words"), (500, "wrong"), (429, "many")],
)
def test_a_refusal_is_put_in_words(page: Page, troubles: Troubles, status: int, words: str) -> None:
    troubles.expect(f"status of {status}")
    answer_with(page, status, times=1)
    submit(page, "a red boat")
    error = page.get_by_test_id("error")
    expect(error).to_contain_text(words)
    expect(error).not_to_contain_text(str(status))
    wait_until_said(page, "could not be answered")
    error.get_by_role("button", name="Try again").click()
    answered(page)
    expect(error).to_have_count(0)


def test_a_busy_service_is_asked_again_by_itself(page: Page, troubles: Troubles) -> None:
    troubles.expect("status of 503")
    answer_with(page, 503, times=1, **{"retry-after": "1"})
    submit(page, "a red boat")
    expect(page.get_by_test_id("busy")).to_be_visible()
    answered(page)
    expect(page.get_by_test_id("error")).to_have_count(0)


def test_a_service_that_stays_busy_is_given_up(page: Page, troubles: Troubles) -> None:
    troubles.expect("status of 503")
    page.clock.install()
    answer_with(page, 503, **{"retry-after": "1"})
    submit(page, "a red boat")
    for _ in range(3):
        expect(page.get_by_test_id("busy")).to_be_visible()
        page.clock.fast_forward(30_000)
    expect(page.get_by_test_id("error").get_by_role("button", name="Try again")).to_be_visible()


def test_a_question_that_cannot_be_asked_is_refused_by_the_service(
    open_page: OpenPage, own_settings: Settings, encoder: Encoder, troubles: Troubles
) -> None:
    troubles.expect("status of 422")
    with serve(own_settings.replace(max_text_chars=20), encoder) as strict:
        page = open_page(at=strict)
        submit(page, "far more than twenty characters of question")
        expect(page.get_by_test_id("error")).to_contain_text("20")
        page.get_by_test_id("error").get_by_role("button", name=re.compile("Edit")).click()
        expect(question_box(page)).to_have_value("far more than twenty characters of question")


def test_an_answer_that_breaks_off_keeps_what_came(page: Page) -> None:
    def break_off(route: Route) -> None:
        body = 'event: understood\ndata: {"terms": []}\n\nevent: hits\ndata: {"hits": []}\n\n'
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/api/ask", break_off, times=1)
    submit(page, "a red boat")
    error = page.get_by_test_id("error")
    expect(error).to_be_visible()
    error.get_by_role("button", name="Try again").click()
    answered(page)


def test_a_failure_half_way_is_told(page: Page) -> None:
    def fail(route: Route) -> None:
        body = 'event: error\ndata: {"status": 503, "title": "Busy", "detail": "the database is away"}\n\n'
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/api/ask", fail, times=1)
    submit(page, "a red boat")
    expect(page.get_by_test_id("error").get_by_role("button", name="Try again")).to_be_visible()


def test_an_empty_gallery_says_what_to_do(open_page: OpenPage, own_site: Site) -> None:
    page = open_page(at=own_site)
    submit(page, "a red boat")
    expect(page.get_by_test_id("no-results").or_(page.get_by_test_id("error"))).to_be_visible()


@pytest.mark.parametrize("room", ["upload", "collections"])
@pytest.mark.parametrize("known", [True, False], ids=["seen before", "never seen"])
def test_a_room_says_when_the_service_is_gone(
    open_page: OpenPage, troubles: Troubles, room: str, known: bool
) -> None:
    troubles.expect("ERR_INTERNET_DISCONNECTED")
    page = open_page(f"/#/{room}" if known else "/")
    heading = page.get_by_role("heading", level=1)
    expect(heading.first).to_be_attached()
    if known:
        expect(heading.filter(visible=True)).to_contain_text(re.compile(room, re.IGNORECASE))
        page.get_by_role("link", name="Ask").click()
    page.context.set_offline(True)
    page.get_by_role("link", name=room.capitalize()).click()
    gone = page.get_by_text(re.compile("(could not|cannot) be reached"))
    expect(gone).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(gone).to_be_hidden()
    expect(heading.filter(visible=True)).to_contain_text(re.compile(room, re.IGNORECASE))
