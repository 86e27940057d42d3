"""The room that lists what is in the gallery."""

from pathlib import Path

from playwright.sync_api import expect

from app.indexing import index_folder
from tests.e2e.conftest import OpenPage
from tests.e2e.drawings import DRAWINGS, SCENES, jpeg
from tests.e2e.site import Site
from tests.e2e.steps import ask, found


def test_collections_are_listed_with_counts_and_how_far_indexing_is(open_page: OpenPage) -> None:
    page = open_page("/#/collections")
    expect(page.get_by_test_id("collection")).to_have_count(2)
    drawings = page.get_by_test_id("collection").filter(has_text="drawings")
    expect(drawings).to_contain_text(f"{len(DRAWINGS)} pictures")
    expect(drawings).to_contain_text("all can be found")


def test_a_collection_is_searched_from_there(open_page: OpenPage) -> None:
    page = open_page("/#/collections")
    page.get_by_role("button", name="Search in sketches").click()
    assert len(found(ask(page, "a red boat"))) == len(SCENES) - len(DRAWINGS)


def test_indexing_under_way_is_followed(open_page: OpenPage, own_site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "growing"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(jpeg(SCENES[number]))
    service = own_site.service

    async def index() -> None:
        await index_folder(folder, encoder=service.encoder, pool=service.writing_pool)

    async def forget_a_vector() -> None:
        async with service.writing_pool.connection() as connection:
            await connection.execute(
                "delete from image_embeddings where image_id = (select min(id::text)::uuid from images)"
            )

    own_site.run(index())
    own_site.run(forget_a_vector())
    page = open_page("/#/collections", at=own_site)
    card = page.get_by_test_id("collection")
    expect(card).to_contain_text("1 of 2")
    expect(card.get_by_role("progressbar")).to_be_visible()
    own_site.run(index())
    expect(card).to_contain_text("all can be found")
    expect(card.get_by_role("progressbar")).to_be_hidden()


def test_an_empty_gallery_says_what_to_do(open_page: OpenPage, own_site: Site) -> None:
    page = open_page("/#/collections", at=own_site)
    expect(page.get_by_text("The gallery is empty")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Upload pictures").click()
    expect(page.get_by_role("heading", name="Upload pictures")).to_be_visible()
