"""An answer in words, English or Vietnamese: Markdown, and the HTML of it.

Captions, names and questions are other people's: escaped in the Markdown, they stay text; and what the HTML
would hold beyond formatted text is taken out again.
"""

import re
from collections.abc import Sequence
from typing import Literal

import nh3
from markdown_it import MarkdownIt

from app.search_schemas import HitAnswer, QueryEcho

Language = Literal["en", "vi"]

TAGS = {"p", "strong", "em", "code", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"}

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_WHITE = re.compile(r"\s+")


def answer_markdown(question: QueryEcho, hits: Sequence[HitAnswer], language: Language) -> str:
    """Return what was found, in Markdown."""
    if not hits:
        return "No picture matches."
    best = hits[0]
    caption = best.captions[0] if best.captions else best.uri
    return f"**{len(hits)}** pictures. The best match is *{escape(caption)}*."


def to_html(markdown: str) -> str:
    """Return Markdown as HTML of paragraphs, emphasis, lists, tables and code; no attribute, no address."""
    return nh3.clean(_markdown.render(markdown), tags=TAGS, attributes={}, link_rel=None).strip()


def escape(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    return _PUNCTUATION.sub(r"\\\1", _WHITE.sub(" ", text).strip())
