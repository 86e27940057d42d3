"""What better questions gain on captioned photos, asked of the product itself: app.search over a database of its own.

    python -m benchmarks.quality_questions negation --model CHECKPOINT --images FOLDER --captions FILE --split FILE

negation  "a man without a hat": of the first ten, how many show the one (3 of 5 captions name it) and not the other
composed  a photo and words, for photos that show what both do: mean average precision, sides alone, summed, balanced
feedback  a question, then one round of "more like these, less like those": mean reciprocal rank of its photo
long      all captions of a photo as one question: mean reciprocal rank of the photo

A photo names a word if its captions do (training.caption_words). Every comparison is exact, never by the index. Gains
are paired, with 95 % intervals over the questions.
"""

import argparse
import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.indexing import index_folder
from app.negation import read_negation
from app.search import Question, search
from app.service import Service, open_service
from app.settings import Settings
from app.terms import Term, words_and_picture
from db.searching import Filters
from embedding.encoder import Encoder, load_encoder
from training.bootstrap import ENDS, weights_of_resamples
from training.caption_words import CaptionLikeness, content_words
from training.captions import load_captioned_photos
from training.photos import CaptionedPhoto

NAMED_BY = 3
"""Captions of a photo that name what it is taken to show."""

DEPTH = 100
"""Hits among which photos are looked for: average precision and reciprocal rank count so many."""

LIKED, DISLIKED = 0.15, 0.1
"""Likeness to the photo sought (training.caption_words), from which a photo is "more", and below which it is "less"."""


@dataclass(frozen=True)
class Gallery:
    """A service over some captioned photos; a photo's number is its place among them."""

    service: Service
    encoder: Encoder
    photos: list[CaptionedPhoto]
    ids: list[UUID]
    naming: dict[str, NDArray[np.int64]]
    """For each word, how many captions of each photo name it."""

    async def ask(
        self, *terms: Term, k: int | None = None, without: Iterable[int] = (), **options: Any
    ) -> list[int]:
        """Return the numbers of the k best photos, of all unless it is said, best first."""
        question = Question(
            terms,
            k=k or len(self.photos),
            exact=True,
            filters=Filters(exclude=tuple(self.ids[each] for each in without)),
            **options,
        )
        answer = await search(self.service, question)
        number = {image_id: place for place, image_id in enumerate(self.ids)}
        return [number[hit.id] for hit in answer.hits]


@asynccontextmanager
async def open_gallery(arguments: argparse.Namespace) -> AsyncIterator[Gallery]:
    """Index the split's photos into a database that goes away again."""
    names = arguments.split.read_text().split()
    known = {photo.name: photo for photo in load_captioned_photos(arguments.captions, arguments.images)}
    photos = [known[name] for name in names]
    encoder = load_encoder(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "photos"
        pictures.mkdir()
        for photo in photos:
            (pictures / photo.name).write_bytes(photo.source.read())
        settings = Settings(data_dir=Path(folder) / "data", max_k=len(photos))
        async with open_service(settings, encoder) as service:
            await index_folder(pictures, encoder=encoder, pool=service.writing_pool)
            async with service.pool.connection() as connection:
                cursor = await connection.execute("select uri, id from gallery")
                by_name = dict(await cursor.fetchall())
            yield Gallery(service, encoder, photos, [by_name[name] for name in names], words_named(photos))


def words_named(photos: Sequence[CaptionedPhoto]) -> dict[str, NDArray[np.int64]]:
    """Return for each word how many captions of each photo name it, int64 (photos,)."""
    naming: dict[str, NDArray[np.int64]] = {}
    for number, photo in enumerate(photos):
        for word, count in Counter(
            word for caption in photo.captions for word in content_words([caption])
        ).items():
            naming.setdefault(word, np.zeros(len(photos), np.int64))[number] = count
    return naming


async def negation(gallery: Gallery) -> None:
    """Ask for one thing without another, over every pair of words that tells enough photos apart."""
    pairs = [
        (shown, missing)
        for shown, x in gallery.naming.items()
        if (x >= NAMED_BY).sum() >= 40
        for missing, y in gallery.naming.items()
        if ((x >= NAMED_BY) & (y == 0)).sum() >= 20 and ((x >= NAMED_BY) & (y >= 1)).sum() >= 10
        if shown != missing
    ]
    print(f"{len(pairs)} questions, 'a SHOWN without a MISSING'")
    right, clear = {}, {}
    for label, ask in NEGATED.items():
        tops = [await ask(gallery, shown, missing) for shown, missing in pairs]
        shows = [gallery.naming[shown][top] >= NAMED_BY for (shown, _), top in zip(pairs, tops, strict=True)]
        lacks = [gallery.naming[missing][top] == 0 for (_, missing), top in zip(pairs, tops, strict=True)]
        right[label] = [float((x & y).mean()) for x, y in zip(shows, lacks, strict=True)]
        clear[label] = [float(y.mean()) for y in lacks]
    report("of ten, show the one and not the other, %", right)
    report("of ten, do not show the other, %", clear)
    same = [
        await gallery.ask(Term(text=photo.captions[0]))
        == await gallery.ask(Term(text=photo.captions[0]), literal=True)
        for photo in gallery.photos[:200]
        if not read_negation(photo.captions[0]).without
    ]
    print(f"{sum(same)} of {len(same)} captions that negate nothing rank all photos as before")


async def _as_read(gallery: Gallery, shown: str, missing: str) -> list[int]:
    return await gallery.ask(Term(text=f"a {shown} without a {missing}"), k=10, literal=True)


async def _left_out(gallery: Gallery, shown: str, missing: str) -> list[int]:
    return await gallery.ask(Term(text=f"a {shown}"), k=10)


async def _projected(gallery: Gallery, shown: str, missing: str) -> list[int]:
    asked, concept = gallery.encoder.encode_texts([f"a {shown}", f"a {missing}"])
    return await gallery.ask(Term(embedding=asked - (asked @ concept) * concept), k=10)


async def _understood(gallery: Gallery, shown: str, missing: str) -> list[int]:
    return await gallery.ask(Term(text=f"a {shown} without a {missing}"), k=10)


NEGATED = {
    "as the encoder reads it": _as_read,
    "the negated words left out": _left_out,
    "… and their projection taken out": _projected,
    "understood": _understood,
}


async def composed(gallery: Gallery) -> None:
    """Ask with a photo that shows one thing and words for another, for the photos that show both."""
    random = np.random.default_rng(0)
    shown = {
        word: count >= NAMED_BY for word, count in gallery.naming.items() if (count >= NAMED_BY).sum() >= 5
    }
    asked: list[tuple[int, str, NDArray[np.bool_]]] = []
    for subject, x in shown.items():
        for words, y in shown.items():
            references = np.flatnonzero(x & (gallery.naming[words] == 0))
            if subject != words and 5 <= (x & y).sum() < x.sum() / 2 and len(references) >= 10:
                asked += [(int(each), words, x & y) for each in random.choice(references, 2, replace=False)]
    asked = [asked[place] for place in random.permutation(len(asked))[:200]]
    print(f"{len(asked)} questions, a photo of SUBJECT and 'a WORD', for photos of both")
    alone = {
        "words alone": await _precisions(gallery, asked, 1.0, balanced=False),
        "photo alone": await _precisions(gallery, asked, 0.0, balanced=False),
    }
    for alpha in (0.5, 0.6, 0.7):
        by = {
            f"sum, alpha {alpha}": await _precisions(gallery, asked, alpha, balanced=False),
            f"balanced, alpha {alpha}": await _precisions(gallery, asked, alpha, balanced=True),
        }
        report("mean average precision, %", alone | by)


async def _precisions(
    gallery: Gallery, asked: Iterable[tuple[int, str, NDArray[np.bool_]]], alpha: float, *, balanced: bool
) -> list[float]:
    """Return the average precision of each question; the photo asked with does not answer."""
    found = []
    for reference, word, wanted in asked:
        terms = words_and_picture(text=f"a {word}", image_id=gallery.ids[reference], alpha=alpha)
        ranked = await gallery.ask(
            *(term for term in terms if term.weight), k=DEPTH, without=[reference], balanced=balanced
        )
        hits = wanted[ranked]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.append(float((precision * hits).sum() / min(wanted.sum(), DEPTH)))
    return found


async def feedback(gallery: Gallery) -> None:
    """Ask, judge the first ten by their likeness to the photo sought, ask again; judged photos do not answer.

    Three at most are "more", three "less". The photo sought itself is never judged: that would be telling.
    """
    likeness = CaptionLikeness([photo.captions for photo in gallery.photos])
    for label, words_of in ASKED.items():
        before, after = [], []
        for sought, photo in enumerate(gallery.photos):
            alike = likeness.to(sought)
            term = Term(text=words_of(photo.captions[0]))
            ranked = await gallery.ask(term, k=DEPTH)
            first = [each for each in ranked[:11] if each != sought][:10]
            seen = sorted(first, key=lambda each: -alike[each])
            more = [each for each in seen[:3] if alike[each] >= LIKED]
            less = [each for each in seen[-3:] if alike[each] < DISLIKED]
            again = await gallery.ask(
                term,
                k=DEPTH,
                without=more + less,
                more=tuple(gallery.ids[each] for each in more),
                less=tuple(gallery.ids[each] for each in less),
            )
            before.append(reciprocal([each for each in ranked if each not in more + less], sought))
            after.append(reciprocal(again, sought))
        print(f"{len(before)} questions: {label}")
        report("mean reciprocal rank, %", {"before": before, "after one round": after})


def _first_words(caption: str) -> str:
    words = [word for word in re.findall(r"\w+", caption.casefold()) if word in content_words([caption])]
    return " ".join(words[:2]) or caption


ASKED: Mapping[str, Callable[[str], str]] = {
    "a photo's first caption": str,
    "the first two words of it that say something": _first_words,
}


async def long(gallery: Gallery) -> None:
    """Ask by all captions of each photo, joined; the encoder's own reading is cut where its context ends."""
    joined = [" ".join(photo.captions) for photo in gallery.photos]
    cut = sum(map(gallery.encoder.is_truncated, joined))
    print(f"{len(joined)} questions of a photo's captions, joined; {cut} are longer than the encoder reads")
    vectors = gallery.encoder.encode_texts(joined)
    found: dict[str, list[float]] = {
        "first caption alone": [],
        "at once, cut if too long": [],
        "by the sentence": [],
    }
    for sought, (text, vector) in enumerate(zip(joined, vectors, strict=True)):
        terms = (Term(text=gallery.photos[sought].captions[0]), Term(embedding=vector), Term(text=text))
        for label, term in zip(found, terms, strict=True):
            found[label].append(reciprocal(await gallery.ask(term, k=DEPTH), sought))
    report("mean reciprocal rank, %", found)


def reciprocal(ranked: Sequence[int], sought: int) -> float:
    """Return one over the rank of the photo sought, nought if it is not among these."""
    return 1 / (ranked.index(sought) + 1) if sought in ranked else 0.0


def report(figure: str, found: Mapping[str, Sequence[float]]) -> None:
    """Print each way's mean in percent, and what the last gains over each, with its 95 % interval."""
    last = np.array(list(found.values())[-1])
    print(figure)
    for label, values in found.items():
        line = f"  {label:34}{100 * np.mean(values):6.2f}"
        if (gains := last - values).any():
            drawn = np.concatenate(
                [w @ gains / len(gains) for w in weights_of_resamples(len(gains), samples=10_000, seed=0)]
            )
            low, high = 100 * np.quantile(drawn, ENDS)
            line += f"   the last gains {100 * gains.mean():+.2f} ({low:+.2f} to {high:+.2f})"
        print(line, flush=True)


MEASURES = {"negation": negation, "composed": composed, "feedback": feedback, "long": long}


async def run(arguments: argparse.Namespace) -> None:
    """Open a gallery and take the measures."""
    async with open_gallery(arguments) as gallery:
        for measure in arguments.measures:
            await MEASURES[measure](gallery)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", choices=MEASURES, nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="a file name a line")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
