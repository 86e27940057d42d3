"""Many pictures are chosen at once, and downloaded as a zip or as JSON."""

import json
from io import BytesIO
from zipfile import ZipFile

from playwright.sync_api import Locator, Page, expect

from tests.e2e.drawings import SCENES, caption, indexed_file
from tests.e2e.steps import ask, found, hits


def select(turn: Locator, *places: int) -> None:
    for place in places:
        hits(turn).nth(place).hover()
        hits(turn).nth(place).get_by_role("checkbox").check()


def bar(page: Page) -> Locator:
    return page.get_by_test_id("selection-bar")


def test_the_bar_counts_what_is_chosen_and_is_gone_with_it(page: Page) -> None:
    turn = ask(page, "a red boat")
    expect(bar(page)).to_be_hidden()
    select(turn, 0, 2)
    expect(bar(page)).to_contain_text("2")
    bar(page).get_by_role("button", name="Clear selection").click()
    expect(bar(page)).to_be_hidden()
    expect(hits(turn).first.get_by_role("checkbox")).not_to_be_checked()


def test_a_zip_has_the_original_files(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    select(turn, 0, 1, 2)
    with page.expect_download() as downloading:
        bar(page).get_by_role("button", name="Download zip").click()
    assert downloading.value.suggested_filename.endswith(".zip")
    with ZipFile(BytesIO(downloading.value.path().read_bytes())) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 3
        assert archive.read("scene-07.jpg") == indexed_file(7)


def test_json_has_ids_scores_and_captions_in_order(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    select(turn, 2, 0)
    with page.expect_download() as downloading:
        bar(page).get_by_role("button", name="Download JSON").click()
    saved = json.loads(downloading.value.path().read_bytes())
    assert [hit["id"] for hit in saved["hits"]] == [found(turn)[0], found(turn)[2]]
    assert saved["hits"][0]["score"] > saved["hits"][1]["score"]
    assert caption(SCENES[7]) in saved["hits"][0]["captions"]


def test_a_single_picture_is_downloaded_from_its_tile(page: Page) -> None:
    turn = ask(page, caption(SCENES[7]))
    hits(turn).first.hover()
    with page.expect_download() as downloading:
        hits(turn).first.get_by_role("button", name="Download").click()
    assert downloading.value.path().read_bytes() == indexed_file(7)
