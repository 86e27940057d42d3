"""The page's files agree with each other: what modules import, say and draw is there."""

import re
from pathlib import Path

from app.routes.page import WEB

MODULES = WEB / "js"
IMPORT = re.compile(r'^(?:import|export)\b[^;]*?"\./(\w+\.js)";', re.MULTILINE)
WORDS = re.compile(r'^\s+"?([\w-]+)"?:(?=\s+["{]|$)', re.MULTILINE)
FORMS = {"en", "vi", "one", "other"}


def imported(module: str, seen: set[str]) -> set[str]:
    """Return a module, and all that load with it before it runs."""
    if module not in seen:
        seen.add(module)
        for other in IMPORT.findall((MODULES / module).read_text()):
            imported(other, seen)
    return seen


def words(text: str) -> list[str]:
    return [key for key in WORDS.findall(text) if key not in FORMS]


def bringing_words() -> list[Path]:
    """Return the modules that bring words of their own."""
    return [path for path in MODULES.glob("*.js") if "\naddStrings({" in path.read_text()]


def test_modules_of_the_first_view_are_fetched_together() -> None:
    page = (WEB / "index.html").read_text()
    preloaded = re.findall(r'<link rel="modulepreload" href="/assets/js/([\w.]+)">', page)
    assert len(preloaded) == len(set(preloaded))
    assert set(preloaded) == imported("main.js", set()) | {"words_en.js"}


def test_english_and_vietnamese_have_the_same_words() -> None:
    english, vietnamese = ((MODULES / f"words_{code}.js").read_text() for code in ("en", "vi"))
    assert words(english) == words(vietnamese)
    for path in bringing_words():
        english, vietnamese = path.read_text().split("\n  vi: {")
        assert words(english) == words(vietnamese[: vietnamese.index("\n});")]), path.name


def test_modules_say_only_what_there_are_words_for() -> None:
    known = words("".join(path.read_text() for path in [MODULES / "words_en.js", *bringing_words()]))
    for path in MODULES.glob("*.js"):
        for key in re.findall(r'\bt\(\s*"([\w-]+)"', path.read_text()):
            assert key in known, f"{path.name} says {key!r}"


def test_every_icon_is_drawn() -> None:
    drawn = re.findall(r"^\.icon-([\w-]+) \{", (WEB / "icons.css").read_text(), re.MULTILINE)
    for path in MODULES.glob("*.js"):
        for name in re.findall(r'\bicon(?:Button)?\(\s*"([\w-]+)"', path.read_text()):
            assert name in drawn, f"{path.name} shows {name!r}"
