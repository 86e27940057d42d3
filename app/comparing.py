"""Two encoders of one gallery, asked its own captions: which finds the right pictures more often."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from app.errors import QuestionError
from db.connection import Pool
from db.encoders import captioned_sample, vectors_of
from db.gallery import Embedding, EncoderRow
from embedding.encoder import Encoder
from training.bootstrap import Estimate, differences, estimates
from training.encoded_gallery import EncodedGallery, EncodedPhotos, encode_texts
from training.questions import by_captions, rank_captions

FEWEST = 2
FIGURES = (
    (("text_to_image",), "recall_at_1", "text to image R@1"),
    (("text_to_image",), "recall_at_5", "R@5"),
    (("text_to_image",), "recall_at_10", "R@10"),
    (("image_to_text",), "recall_at_1", "image to text R@1"),
    (("image_to_text",), "recall_at_10", "R@10"),
)
TOP, MOVED = 10, 5


@dataclass(frozen=True, slots=True)
class Moved:
    """A caption, and the rank of its picture by the one encoder and by the other."""

    caption: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of both, the new one's less the active one's with its interval, and whose answers changed."""

    active: str
    new: str
    pictures: int
    captions: int
    figures: list[tuple[str, float, float, Estimate]]
    overlap_at_10: float
    """Mean share of the first ten pictures that both encoders answer a caption with."""
    moved: list[Moved]

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "active": self.active,
            "new": self.new,
            "pictures": self.pictures,
            "captions": self.captions,
            "figures": [
                {"figure": name, "active": old, "new": new, "difference": one.value,
                 "interval": [one.low, one.high]}
                for name, old, new, one in self.figures
            ],
            "overlap_at_10": self.overlap_at_10,
            "moved": [
                {"caption": one.caption, "active": one.before, "new": one.after} for one in self.moved
            ],
        }  # fmt: skip

    def table(self) -> RenderableType:
        """Return it for people."""
        table = Table(
            "", *(Column(name, justify="right") for name in (self.active, self.new, "difference", "95 %"))
        )
        for name, old, new, one in self.figures:
            interval = f"{one.low:+.1f} to {one.high:+.1f}"
            table.add_row(name, f"{old:.1f}", f"{new:.1f}", f"{one.value:+.1f}", interval)
        moved = Table("caption", Column("rank before", justify="right"), Column("after", justify="right"))
        for each in self.moved:
            moved.add_row(Text(each.caption), f"{each.before:,}", f"{each.after:,}")
        return Group(
            f"{self.pictures:,} pictures, {self.captions:,} captions",
            table,
            f"of the first ten answers to a caption, {100 * self.overlap_at_10:.0f} % are the same",
            "the captions whose picture moved most",
            moved,
        )


async def compare_encoders(
    pool: Pool, active: tuple[EncoderRow, Encoder], new: tuple[EncoderRow, Encoder], *, pictures: int
) -> Comparison:
    """Ask both encoders every caption of up to so many pictures that both have seen.

    Recall is among those pictures, exact, by the vectors that are in the gallery.

    Raises:
        QuestionError: there are no captions to ask, or the encoder was not filled.
    """
    async with pool.connection() as connection:
        sample = await captioned_sample(connection, [active[0].id, new[0].id], pictures=pictures)
        if len(sample) < FEWEST:
            raise QuestionError(
                f"{len(sample)} pictures have captions and were seen by both encoders: too few to"
                " compare; fill the new encoder first, and index with --captions"
            )
        ids = [id_ for id_, _ in sample]
        vectors = [await vectors_of(connection, row.id, ids) for row, _ in (active, new)]
    captions = [of_one for _, of_one in sample]
    galleries = [
        await asyncio.to_thread(_gallery, encoder, images, captions)
        for (_, encoder), images in zip((active, new), vectors, strict=True)
    ]
    return _compare(active[0].name, new[0].name, captions, *galleries)


def _gallery(encoder: Encoder, images: Embedding, captions: Sequence[Sequence[str]]) -> EncodedGallery:
    texts = encode_texts(encoder, [caption for of_one in captions for caption in of_one])
    said = [len(of_one) for of_one in captions]
    return EncodedGallery(EncodedPhotos([], images), texts, np.repeat(np.arange(len(said)), said))


def _compare(
    active: str,
    new: str,
    captions: Sequence[Sequence[str]],
    old_gallery: EncodedGallery,
    new_gallery: EncodedGallery,
) -> Comparison:
    old_ranks, new_ranks = rank_captions(old_gallery), rank_captions(new_gallery)
    old, ours = by_captions(old_ranks), by_captions(new_ranks)
    old_values, new_values, between = estimates(old), estimates(ours), differences(ours, old)
    texts = [caption for of_one in captions for caption in of_one]
    before, after = old_ranks.text_to_image, new_ranks.text_to_image
    most = np.argsort(-np.abs(after - before), kind="stable")[:MOVED]
    return Comparison(
        active=active,
        new=new,
        pictures=len(captions),
        captions=len(texts),
        figures=[
            (title, old_values[place][name].value, new_values[place][name].value, between[place][name])
            for place, name, title in FIGURES
        ],
        overlap_at_10=_overlap(old_gallery, new_gallery),
        moved=[Moved(texts[n], int(before[n]), int(after[n])) for n in most if before[n] != after[n]],
    )


def _overlap(old: EncodedGallery, new: EncodedGallery) -> float:
    """Return the mean share of the first ten pictures, or of all if they are fewer, that both answer with."""
    k = min(TOP, len(old.images))
    shares = []
    for row in range(len(old.texts)):
        before, after = (np.argpartition(-(one.images @ one.texts[row]), k - 1)[:k] for one in (old, new))
        shares.append(len(np.intersect1d(before, after)) / k)
    return float(np.mean(shares))
