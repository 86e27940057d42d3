"""An answer in words: what it says, and that what others wrote stays text."""

import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answer_text import LONGEST, TAGS, answer_markdown, escape, to_html
from app.answer_words import WORDS, Language
from app.search_schemas import EncoderEcho, HitAnswer, QueryEcho, Rectangle, TermEcho

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</p><iframe src=//evil.example></iframe>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "https://evil.example",
    "**bold** _em_ `code`",
    "| a | b |\n|---|---|\n| c | d |",
    "# heading",
    "- item\n- item",
    "1. one",
    "> quote",
    "```\ncode\n```",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;b&#62;",
    "\\<b\\>",
    "\\",
    "\\\\|",
    "a|b\\|c",
    "<!-- comment -->",
    "<![CDATA[x]]>",
    "' onmouseover='alert(1)",
    '" style="color:red',
    "{name} {0} %s",
    "“quoted” … ”",
    "[ref]: https://evil.example",
    "line one\n\nline two\n    code",
    "~~gone~~ ^up^ ==mark==",
]


class Page(HTMLParser):
    """The tags, the attributes and the text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[Any] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def term(text: str | None = "red", **fields: Any) -> TermEcho:
    whole = {"kind": "text" if text is not None else "image", "text": text, "image_id": None, "weight": 1.0}
    understood = {"understood": text, "without": [], "sentences": 1, "truncated": False}
    return TermEcho(**whole | understood | {"region": None, "embedding": None} | fields)


def question(*terms: TermEcho, **fields: Any) -> QueryEcho:
    terms = terms or (term(),)
    whole: dict[str, Any] = dict.fromkeys(QueryEcho.__struct_fields__) | {
        "alpha": 0.6, "text_weight": 1.0, "image_weight": 0.0, "terms": list(terms), "k": 5, "offset": 0,
        "exclude": [], "sort": "relevance", "truncated": False, "exact": False,
        "literal": False,
        "encoder": EncoderEcho("e", "e", "e", 3),
    }  # fmt: skip
    return QueryEcho(**whole | fields)


def hits(count: int = 5, terms: int = 1, **fields: Any) -> list[HitAnswer]:
    whole = {
        "rank": 1, "id": UUID(int=1), "score": 0.5, "text_score": None, "image_score": None,
        "term_scores": [0.5] * terms, "captions": ["a red boat on the sea"], "collection": "c",
        "uri": "sea/boat.jpg", "width": 1, "height": 1, "format": "jpeg", "byte_size": 1, "taken_at": None,
        "attributes": {}, "image_url": "/x", "thumbnail_url": "/x",
    }  # fmt: skip
    return [HitAnswer(**whole | {"rank": n + 1, "score": 0.5 - 0.02 * n} | fields) for n in range(count)]


def told(asked: QueryEcho, found: list[HitAnswer], language: Language = "en") -> str:
    return Page(to_html(answer_markdown(asked, found, language))).text


def test_the_best_match_is_named_with_its_score_and_caption() -> None:
    said = told(question(), hits())
    assert "The 5 nearest pictures, best first." in said
    assert "The best match is boat.jpg, with a score of 0.500: “a red boat on the sea”." in said
    assert "Nobody has said what it shows" in told(question(), hits(captions=[]))


def test_the_best_match_is_by_score_also_when_sorted_by_date() -> None:
    found = hits()
    found[3] = msgspec.structs.replace(found[3], score=0.9, uri="old.jpg")
    said = told(question(sort="newest"), found)
    assert "The 5 newest of the pictures that match best." in said
    assert "The best match is old.jpg" in said


def test_several_parts_are_told_with_their_weights() -> None:
    parts = [
        term("a boat"),
        term(None, kind="image", weight=-0.5),
        term(None, kind="image_id", weight=0.25, region=Rectangle(0, 0, 0.5, 0.5)),
    ]
    found = hits(terms=3)
    found[0] = msgspec.structs.replace(found[0], term_scores=[0.4, -0.1, 0.8])
    html = to_html(answer_markdown(question(*parts), found, "en"))
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in html.split("<tr>")[1:]]
    assert rows == [
        ["Part of the question", "Weight", "Score of the best match"],
        ["“a boat”", "1.00", "0.400"],
        ["your picture", "−0.50", "−0.100"],
        ["part of a picture of the gallery", "0.25", "0.800"],
    ]
    assert "<table>" not in to_html(answer_markdown(question(), hits(), "en"))


def test_words_that_captions_share_are_told() -> None:
    found = [
        msgspec.structs.replace(hit, captions=[f"a red boat {'at sea' if n < 3 else 'on a lake'}"])
        for n, hit in enumerate(hits())
    ]
    assert "Captions of the best 5 often say boat (5), red (5), sea (3)." in told(question(), found)
    assert "often say" not in told(question(), hits(1))
    assert "often say" not in told(question(), hits(captions=[]))


def test_each_language_prefers_its_own_captions() -> None:
    both = hits(captions=["a red boat", "chiếc thuyền đỏ"])
    assert "“a red boat”" in told(question(), both)
    said = told(question(), both, "vi")
    assert "5 ảnh gần nhất" in said
    assert "“chiếc thuyền đỏ”" in said
    assert "thuyền (5), đỏ (5)" in said
    assert "0,500" in said
    assert "“a red boat”" in told(question(), hits(captions=["a red boat"]), "vi")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"collection": "<b>x"}, "not only in <b>x"),
        ({"attributes": {"a": 1}}, "leave out the attributes"),
        ({"taken_from": "x"}, "widen the span of time"),
        ({"min_score": 0.4}, "a score below 0.400"),
        ({"exclude": [UUID(int=1)]}, "some of the 1 pictures"),
    ],
)
def test_nothing_found_is_said_with_what_may_help(fields: dict[str, Any], said: str) -> None:
    page = told(question(**fields), [])
    assert "No picture matches." in page
    assert said in page


def test_an_empty_gallery_is_said_to_be_empty() -> None:
    assert "There are no pictures yet" in told(question(), [])


def test_little_found_is_said() -> None:
    assert "Only 2 pictures match." in told(question(collection="x"), hits(2))
    assert "Only one picture matches." in told(question(min_score=0.2), hits(1))
    assert "All 3 pictures there are" in told(question(), hits(3))
    assert "no more pictures" in told(question(offset=5), [])
    assert "The next 5 pictures" in told(question(offset=5), hits())
    assert "None is really near: even the best scores only 0.030." in told(question(), hits(score=0.03))
    assert "No picture stands out" in told(question(k=12), hits(12, score=0.3))
    assert "stands out" not in told(question(k=12), hits(12))
    assert "longer than the encoder reads" in told(question(truncated=True), hits())


@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_others_wrote_stays_text(payload: str, language: Language) -> None:
    asked = question(term(payload), term("x"), collection=payload, k=9)
    found = hits(terms=2, captions=[payload], uri=f"x{payload}".replace("/", "∕"))
    for markdown in (answer_markdown(asked, found, language), answer_markdown(asked, [], language)):
        page = Page(to_html(markdown))
        assert page.tags <= TAGS
        assert page.attributes == []
        assert " ".join(payload.split()) in page.text


def printed(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and not char.isspace())


@given(st.text(st.characters(codec="utf-8"), max_size=120))
def test_any_text_at_all_stays_text(text: str) -> None:
    page = Page(to_html(f"It says “{escape(text)}”.\n\n| a | b |\n|---|---|\n| {escape(text)} | c |"))
    assert page.tags <= TAGS
    assert page.attributes == []
    assert printed(page.text).count(printed(text)) >= 2


def test_long_texts_are_cut() -> None:
    assert len(escape("a" * 9000)) == LONGEST
    assert len(told(question(), hits(captions=["word " * 5000]))) < 500


def test_both_languages_say_the_same_things() -> None:
    english, vietnamese = WORDS["en"], WORDS["vi"]
    assert english.keys() == vietnamese.keys()
    for name in english:
        assert set(re.findall(r"{\w+}", english[name])) >= set(re.findall(r"{\w+}", vietnamese[name])), name
