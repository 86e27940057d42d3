"""A browser, and the real service on the real database with drawn scenes and the encoder that knows them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from psycopg.sql import SQL, Identifier

from app.settings import Settings
from embedding.encoder import Encoder, load_encoder
from tests.conftest import named
from tests.e2e.chromium import ARGUMENTS, chromium
from tests.e2e.drawings import index_drawings
from tests.e2e.site import Site, serve
from tests.e2e.troubles import Troubles
from tests.scenes_checkpoint import scenes_checkpoint

HERE = Path(__file__).parent
REMEMBER_WHAT_IS_SAID = """
window.said = [];
document.addEventListener("DOMContentLoaded", () => {
    const status = document.querySelector("[role=status]");
    new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
});
"""
PATIENCE_MS = 15_000
"""How long a check waits for the page: a busy machine is slow."""


class OpenPage(Protocol):
    """Opens an address of the site in a browser that was never there, after running a script of the test's.

    Options are those of Playwright's contexts.
    """

    def __call__(
        self, path: str = "/", *, at: Site | None = None, script: str = "", **options: Any
    ) -> Page: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(str(scenes_checkpoint(request.config)), device="cpu")


@pytest.fixture(scope="session")
def site(
    server: str, template: str, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The service with the drawings; no test changes them."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("create database drawings template {}").format(Identifier(template)))
    folder = tmp_path_factory.mktemp("site")
    settings = Settings(database_url=named(server, "drawings"), data_dir=folder / "data", port=0)
    with serve(settings, encoder) as site:
        site.run(index_drawings(site.service, folder))
        yield site


@pytest.fixture
def own_settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of an empty gallery that a test may fill, with `serve`."""
    return Settings(database_url=database_url, data_dir=tmp_path / "data", port=0)


@pytest.fixture
def own_site(own_settings: Settings, encoder: Encoder) -> Iterator[Site]:
    """The service with an empty gallery of this test's own."""
    with serve(own_settings, encoder) as site:
        yield site


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Playwright holds this thread's event loop until the last of these tests: they are no coroutines."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def troubles() -> Iterator[Troubles]:
    """What goes wrong unseen fails the test."""
    troubles = Troubles()
    yield troubles
    assert not troubles.unexpected


@pytest.fixture
def open_page(browser: Browser, site: Site, troubles: Troubles) -> Iterator[OpenPage]:
    contexts = []

    def open_page(path: str = "/", *, at: Site | None = None, script: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=(at or site).url, **{"locale": "en-GB"} | options)
        contexts.append(context)
        if at:
            at.visitors.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(script + REMEMBER_WHAT_IS_SAID)
        troubles.watch(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The page as a new visitor finds it: English, light, on a desktop."""
    return open_page()
