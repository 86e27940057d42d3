"""An answer in words: Markdown, and the HTML of it.

Captions, names and questions are other people's: escaped in the Markdown, they stay text; and what the HTML
would hold beyond formatted text is taken out again.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import nh3
from markdown_it import MarkdownIt

from app.answer_words import WORDS, Language
from app.search_schemas import BackgroundAnswer, HitAnswer, QueryEcho, TermEcho
from training.caption_words import content_words

TAGS = {"p", "strong", "em", "code", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"}
LONGEST = 200
"""Characters of a caption, a name or a part of the question, before it is cut."""
LOOKED_AT = 10
"""Hits whose captions are looked at for the words they share."""
SHARED = 5
"""Shared words told."""
FLAT = 0.01
"""A difference in score that says nothing."""
FAR = 0.05
"""Unrelated pictures and words have about this cosine similarity, or less."""

_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_MARKUP = re.compile(r"([\\`*_\[\]<>&|~$])")
_WHITE = re.compile(r"\s+")
# control characters, marks that turn the direction of writing, halves of surrogate pairs
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_VIETNAMESE = re.compile(
    r"[ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ]", re.IGNORECASE
)


def answer_markdown(
    question: QueryEcho,
    hits: Sequence[HitAnswer],
    language: Language,
    background: BackgroundAnswer | None = None,
) -> str:
    """Return what was found, in Markdown: how many, the best, the question's parts, what captions share."""
    tell = Teller(language)
    return "\n\n".join(tell.nothing(question) if not hits else tell.found(question, hits, background))


def to_html(markdown: str) -> str:
    """Return Markdown as HTML of paragraphs, emphasis, lists, tables and code; no attribute, no address."""
    return nh3.clean(_markdown.render(markdown), tags=TAGS, attributes={}, link_rel=None).strip()


def escape(text: str) -> str:
    """Return a text that Markdown shows as it is within a line, which it is; long ones are cut."""
    line = _WHITE.sub(" ", _UNSEEN.sub("", text)).strip()
    cut = line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
    return _MARKUP.sub(r"\\\1", cut)


class Teller:
    """Tells an answer in one language."""

    def __init__(self, language: Language) -> None:
        self._language: Language = language

    def nothing(self, question: QueryEcho) -> Iterator[str]:
        """Yield that there is nothing, and what may help."""
        if question.offset:
            yield self._say("nothing_more")
            return
        if not _is_narrowed(question):  # then all there are would have answered
            yield self._say("empty")
            return
        yield self._say("nothing")
        ways = []
        if question.collection is not None:
            ways.append(self._say("collection", value=escape(question.collection)))
        if question.attributes:
            ways.append(self._say("attributes"))
        if question.taken_from or question.taken_to:
            ways.append(self._say("dates"))
        if question.min_score is not None:
            ways.append(self._say("min_score", value=self._number(question.min_score)))
        if question.exclude:
            ways.append(self._say("exclude", value=len(question.exclude)))
        yield "\n".join([self._say("ways_on"), "", *(f"- {way}" for way in ways)])

    def found(
        self, question: QueryEcho, hits: Sequence[HitAnswer], background: BackgroundAnswer | None = None
    ) -> Iterator[str]:
        """Yield how many were found, the best, the parts, and what the captions share."""
        best = max(hits, key=lambda hit: hit.score)
        yield f"{self._how_many(question, hits)} {self._best(best)}"
        if background is not None and background.nothing_near and not question.offset:
            yield self._say("chance")
        elif best.score < FAR:
            yield self._say("far", score=self._number(best.score))
        elif len(hits) >= LOOKED_AT and best.score - min(hit.score for hit in hits) < FLAT:
            scores = [hit.score for hit in hits]
            yield self._say("flat", first=self._number(max(scores)), last=self._number(min(scores)))
        if question.truncated:
            yield self._say("truncated")
        for term in question.terms:
            if term.without:
                asked = f"“{escape(term.understood)}”" if term.understood else self._say("anything")
                without = ", ".join(f"“{escape(concept)}”" for concept in term.without)
                yield self._say("without", asked=asked, without=without)
        if len(question.terms) > 1:
            yield self._parts(question.terms, best)
        if words := self._shared_words(hits[:LOOKED_AT]):
            yield self._say("shared", count=min(LOOKED_AT, len(hits)), words=", ".join(words))

    def _how_many(self, question: QueryEcho, hits: Sequence[HitAnswer]) -> str:
        count = len(hits)
        if question.offset:
            return self._say("next", count=count, last=hits[-1].rank)
        if count < question.k:
            if _is_narrowed(question):
                return self._say("only" if count > 1 else "only_one", count=count)
            return self._say("all_there_are" if count > 1 else "nearest_one", count=count)
        if question.sort != "relevance":
            return self._say(question.sort, count=count)
        return self._say("nearest" if count > 1 else "nearest_one", count=count)

    def _best(self, best: HitAnswer) -> str:
        name = escape(PurePosixPath(best.uri).name or best.uri)
        said = self._say("best", name=name, score=self._number(best.score))
        captions = self._in_this_language(best.captions)
        if not captions:
            return self._say("no_caption", best=said) + "."
        return self._say("captioned", best=said, caption=escape(captions[0].rstrip(" ."))) + "."

    def _parts(self, terms: Sequence[TermEcho], best: HitAnswer) -> str:
        head = [self._say("part"), self._say("weight"), self._say("best_score")]
        rows = [
            [self._name(term), self._number(term.weight, digits=2), self._number(score)]
            for term, score in zip(terms, best.term_scores, strict=True)
        ]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * 3, *rows))

    def _name(self, term: TermEcho) -> str:
        if term.text is not None:
            return f"“{escape(term.text)}”"
        picture = self._say(term.kind)
        return picture if term.region is None else self._say("region", picture=picture)

    def _shared_words(self, hits: Sequence[HitAnswer]) -> list[str]:
        """Return words that at least half of the captioned hits have, and at least two."""
        said = [content_words(captions) for hit in hits if (captions := self._in_this_language(hit.captions))]
        counts = Counter(word for words in said for word in words)
        often = [(word, count) for word, count in counts.items() if count >= max(2, len(said) / 2)]
        often.sort(key=lambda each: (-each[1], each[0]))
        return [self._say("shared_word", word=escape(word), count=count) for word, count in often[:SHARED]]

    def _in_this_language(self, captions: Sequence[str]) -> list[str]:
        """Return the captions in the answer's language, by their letters; all of them if none are."""
        vietnamese = self._language == "vi"
        return [each for each in captions if bool(_VIETNAMESE.search(each)) == vietnamese] or list(captions)

    def _number(self, value: float, digits: int = 3) -> str:
        written = f"{value:.{digits}f}".replace("-", "−")
        return written.replace(".", ",") if self._language == "vi" else written

    def _say(self, which: str, /, **values: object) -> str:
        return WORDS[self._language][which].format(**values)


def _is_narrowed(question: QueryEcho) -> bool:
    """Say whether some pictures could not answer."""
    return (
        question.collection is not None
        or question.min_score is not None
        or question.fold_duplicates is not None
        or any((question.attributes, question.exclude, question.taken_from, question.taken_to))
        or any((question.min_width, question.min_height))
    )
