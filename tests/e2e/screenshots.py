"""Pictures of the page, in light and dark, on a desktop and on a phone, to be looked at.

    python -m tests.e2e.screenshots --out FOLDER [--model CHECKPOINT]

Over drawn scenes and the scenes encoder, which is trained first (minutes) unless a checkpoint is given.
"""

import argparse
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.drawn_gallery import SEED, serving, write_drawings
from tests.e2e.chromium import ARGUMENTS, chromium
from tests.e2e.steps import answered, ask, attach, hits, open_picture, question_box
from training.scenes import draw, gallery
from training.scenes_encoder import train_scenes_encoder

PICTURES, SIZE_PX = 300, 480
DEVICES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}
WORDS = "white boats at sea"


def nothing_asked(page: Page) -> None:
    page.get_by_test_id("empty-state").wait_for()


def an_answer(page: Page) -> None:
    ask(page, WORDS)


def the_next_question(page: Page) -> None:
    ask(page, WORDS)
    attach(page, ("mine.png", drawing(7)))
    question_box(page).fill("in the snow")


def a_second_answer(page: Page) -> None:
    the_next_question(page)
    question_box(page).press("Enter")
    page.get_by_test_id("turn").nth(1).wait_for()
    answered(page)


def how_it_was_found(page: Page) -> None:
    ask(page, WORDS).get_by_text("How this was found").click()


def lightbox(page: Page) -> None:
    open_picture(hits(ask(page, WORDS)).first)


def region(page: Page) -> None:
    lightbox(page)
    page.get_by_role("button", name="Search by a part of it").click()


def filters(page: Page) -> None:
    ask(page, WORDS)
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("combobox", name="Collection").wait_for()


def selection(page: Page) -> None:
    turn = ask(page, WORDS)
    for place in range(3):
        tile = hits(turn).nth(place)
        menu = tile.get_by_role("button", name="What to do with")
        if menu.is_visible():  # where nothing hovers
            menu.click()
        tile.get_by_role("checkbox").check(force=True)


def upload(page: Page) -> None:
    page.get_by_role("link", name="Upload").click()
    page.locator("#upload-files").set_input_files(
        [
            {"name": f"holiday-{number}.png", "mimeType": "image/png", "buffer": drawing(number)}
            for number in range(3)
        ]
    )


def collections(page: Page) -> None:
    page.get_by_role("link", name="Collections").click()
    page.get_by_test_id("collection").first.wait_for()


def an_error(page: Page) -> None:
    page.route("**/api/ask", lambda route: route.abort())
    question_box(page).fill(WORDS)
    question_box(page).press("Enter")
    page.get_by_test_id("error").wait_for()


VIEWS: tuple[Callable[[Page], None], ...] = (
    nothing_asked,
    an_answer,
    the_next_question,
    a_second_answer,
    how_it_was_found,
    lightbox,
    region,
    filters,
    selection,
    upload,
    collections,
    an_error,
)


def drawing(number: int) -> bytes:
    """Return a new drawing of a scene of the gallery, as a file."""
    file = BytesIO()
    draw(gallery(PICTURES, SEED)[number], np.random.default_rng(7), size_px=SIZE_PX).save(file, "PNG")
    return file.getvalue()


def take_all(browser: Browser, address: str, out: Path) -> None:
    """Take every view on every device in both themes."""
    for device, options in DEVICES.items():
        for theme in ("light", "dark"):
            for view in VIEWS:
                context = browser.new_context(base_url=address, color_scheme=theme, locale="en-GB", **options)
                page = context.new_page()
                page.goto("/")
                view(page)
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(400)  # what fades in has faded in
                page.screenshot(path=out / f"{device}-{theme}-{view.__name__.replace('_', '-')}.png")
                context.close()


def main() -> None:
    """Read the arguments and take the pictures in a temporary data folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model = arguments.model or train_scenes_encoder(Path(folder) / "encoder")
        write_drawings(Path(folder) / "drawings", PICTURES, size_px=SIZE_PX)
        with serving(Path(folder) / "data", Path(folder) / "drawings", model) as address:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            take_all(browser, address, arguments.out)


if __name__ == "__main__":
    main()
