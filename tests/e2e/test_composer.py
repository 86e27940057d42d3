"""Writing a question: lines, and pictures that are attached, pasted or dropped."""

import base64
import json
from io import BytesIO

import numpy as np
from PIL import Image
from playwright.sync_api import Page, Request, expect

from tests.e2e.drawings import SCENES, drawing_id, jpeg
from tests.e2e.steps import answered, ask, attach, found, hits, question_box, terms_sent

TRANSFER = """([target, kind, name, data]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
    const how = { bubbles: true, cancelable: true };
    if (kind === "paste") {
        target.dispatchEvent(new ClipboardEvent("paste", { ...how, clipboardData: transfer }));
    } else for (const step of ["dragenter", "dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(step, { ...how, dataTransfer: transfer }));
    }
}"""


def hand_over(page: Page, kind: str, name: str, data: bytes) -> None:
    """Paste or drop a picture file on the question box."""
    box = question_box(page).element_handle()
    page.evaluate(TRANSFER, [box, kind, name, base64.b64encode(data).decode()])


def test_enter_sends_and_shift_enter_breaks_the_line(page: Page) -> None:
    box = question_box(page)
    box.fill("a red boat")
    box.press("Shift+Enter")
    box.press_sequentially("at night")
    expect(box).to_have_value("a red boat\nat night")
    expect(page.get_by_test_id("turn")).to_have_count(0)
    box.press("Enter")
    answered(page)
    expect(box).to_have_value("")


def test_the_button_sends_too(page: Page) -> None:
    question_box(page).fill("a red boat")
    page.get_by_role("button", name="Send").click()
    answered(page)


def test_the_box_grows_with_its_lines(page: Page) -> None:
    box = question_box(page)
    before = box.bounding_box()
    box.fill("one\ntwo\nthree\nfour")
    after = box.bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] >= before["height"] + 40


def test_nothing_is_asked_while_the_question_is_empty(page: Page) -> None:
    question_box(page).fill("   ")
    question_box(page).press("Enter")
    expect(page.get_by_test_id("turn")).to_have_count(0)


def test_an_attached_picture_finds_its_like(page: Page) -> None:
    attach(page, ("mine.jpg", jpeg(SCENES[3], seed=99)))
    expect(page.get_by_test_id("attachment")).to_have_count(1)
    expect(page.get_by_test_id("attachment").get_by_role("img")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    turn = answered(page)
    assert str(drawing_id(3)) in found(turn)[:3]
    expect(turn.get_by_test_id("question-bubble").get_by_role("img")).to_be_visible()
    expect(page.get_by_test_id("attachment")).to_have_count(0)


def test_a_pasted_picture_is_attached(page: Page) -> None:
    hand_over(page, "paste", "pasted.jpg", jpeg(SCENES[3], seed=99))
    expect(page.get_by_test_id("attachment")).to_have_count(1)


def test_a_dropped_picture_is_attached(page: Page) -> None:
    hand_over(page, "drop", "dropped.jpg", jpeg(SCENES[3], seed=99))
    expect(page.get_by_test_id("attachment")).to_have_count(1)


def test_an_attachment_can_be_removed(page: Page) -> None:
    attach(page, ("one.jpg", jpeg(SCENES[1])), ("two.jpg", jpeg(SCENES[2])))
    expect(page.get_by_test_id("attachment")).to_have_count(2)
    page.get_by_role("button", name="Remove one.jpg").click()
    expect(page.get_by_test_id("attachment")).to_have_count(1)
    expect(page.get_by_role("button", name="Remove two.jpg")).to_be_visible()


def test_five_pictures_are_the_most(page: Page) -> None:
    attach(page, *((f"{number}.jpg", jpeg(SCENES[number])) for number in range(6)))
    expect(page.get_by_test_id("attachment")).to_have_count(5)
    expect(page.get_by_test_id("notice")).to_contain_text("5 pictures. Left out: 5.jpg")


def test_what_is_no_picture_is_refused_by_name(page: Page) -> None:
    attach(page, ("broken.jpg", b"no picture"))
    expect(page.get_by_test_id("notice")).to_contain_text("broken.jpg")
    expect(page.get_by_test_id("attachment")).to_have_count(0)


def test_several_pictures_and_words_are_one_question(page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: request.url.endswith("/api/ask") and asked.append(request))
    attach(page, ("one.jpg", jpeg(SCENES[1])), ("two.jpg", jpeg(SCENES[2])))
    ask(page, "at night")
    terms = json.loads(asked[0].post_data or "")["terms"]
    assert [("text" in term, "image" in term) for term in terms].count((False, True)) == 2
    assert {term.get("text"): term["weight"] for term in terms} == {"at night": 0.6, None: 0.2}


def test_a_large_picture_is_made_small_before_it_is_sent(page: Page) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=95)
    attach(page, ("large.jpg", file.getvalue()))
    expect(page.get_by_test_id("attachment")).to_have_count(1)
    with page.expect_request("**/api/ask") as asking:
        page.get_by_role("button", name="Send").click()
    (term,) = json.loads(asking.value.post_data or "")["terms"]
    sent = Image.open(BytesIO(base64.b64decode(term["image"].partition(",")[2])))
    assert (sent.format, sent.size) == ("JPEG", (1024, 512))
    answered(page)


def test_words_can_become_a_part_of_their_own(page: Page) -> None:
    question_box(page).fill("a red boat")
    question_box(page).press("Control+Enter")
    expect(question_box(page)).to_have_value("")
    expect(page.get_by_test_id("chip")).to_contain_text("a red boat")
    page.get_by_test_id("chip").get_by_role("spinbutton").fill("-0.3")
    question_box(page).fill("at night")
    with page.expect_request("**/api/ask") as asking:
        question_box(page).press("Enter")
    assert {term["text"]: term["weight"] for term in terms_sent(asking.value)}["a red boat"] == -0.3
    answered(page)


def test_a_picture_found_can_be_dragged_into_the_question(page: Page) -> None:
    turn = ask(page, "a red boat")
    dragged = found(turn)[0]
    hits(turn).first.locator("img").drag_to(question_box(page))
    expect(page.get_by_test_id("chip").get_by_role("img")).to_have_count(1)
    with page.expect_request("**/api/ask") as asking:
        page.get_by_role("button", name="Send").click()
    assert dragged in [term.get("image_id") for term in terms_sent(asking.value)]
    answered(page)
