"""Questions by voice, in browsers that listen; the recogniser is the browser's, and played here."""

from playwright.sync_api import expect

from tests.e2e.conftest import OpenPage
from tests.e2e.steps import answered, question_box

NONE = "delete window.SpeechRecognition; delete window.webkitSpeechRecognition;"
PLAYED = """window.SpeechRecognition = window.webkitSpeechRecognition = class {
    start() {
        setTimeout(() => {
            this.onresult?.({ resultIndex: 0, results: [[{ transcript: "a red boat" }]] });
            this.onend?.();
        }, 50);
    }
    stop() { this.onend?.(); }
    abort() { this.onend?.(); }
};"""


def test_what_is_said_is_written_into_the_question(open_page: OpenPage) -> None:
    page = open_page(script=PLAYED)
    page.get_by_role("button", name="Speak").click()
    expect(question_box(page)).to_have_value("a red boat")
    question_box(page).press("Enter")
    answered(page)


def test_where_the_browser_does_not_listen_nothing_is_offered(open_page: OpenPage) -> None:
    page = open_page(script=NONE)
    expect(page.get_by_role("button", name="Attach pictures")).to_be_visible()
    expect(page.get_by_role("button", name="Speak")).to_have_count(0)
