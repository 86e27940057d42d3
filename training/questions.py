"""The ways to ask a gallery and what comes of each: captions, pictures, both, long texts, bad photos.

Each function takes an encoded gallery and returns Measured figures by the place where a report puts them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedding.encoder import Encoder
from training.caption_words import CaptionLikeness
from training.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from training.encoded_gallery import Distortion, EncodedGallery, encode_texts
from training.evaluate import Embeddings, ranks_of_each_text, ranks_of_images
from training.metrics import (
    DEPTH,
    LIKENESS,
    Floats,
    Measured,
    Ranks,
    average,
    average_precision_at,
    average_precision_of_hits,
    mean_of,
    ndcg_at,
    of_one_answer,
    recall_sum,
    recalls,
    retention,
    retrieval,
)

Place = tuple[str, ...]
"""Where a report puts figures: ("hybrid", "0.2")."""

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
JOINED_CAPTIONS = 5


@dataclass(frozen=True, slots=True)
class CaptionRanks:
    """Where captions find their photo, and photos their captions, from 1."""

    text_to_image: Ranks
    """int64 (captions,), for each caption."""
    image_to_text: Ranks
    """int64 (photos,): for each photo the best of its captions."""
    of_each_answer: Ranks
    """int64 (captions,): where the photo of this caption finds it."""
    photo_of_text: Ranks
    """int64 (captions,)."""


def rank_captions(gallery: EncodedGallery) -> CaptionRanks:
    """Have every caption ask for its photo, and every photo for its captions."""
    answers = ranks_of_each_text(gallery.images, gallery.texts, gallery.photo_of_text)
    best = np.full(len(gallery.images), np.iinfo(np.int64).max)
    np.minimum.at(best, gallery.photo_of_text, answers)
    return CaptionRanks(
        ranks_of_images(gallery.texts, gallery.images, gallery.photo_of_text),
        best,
        answers,
        gallery.photo_of_text,
    )


def by_captions(ranks: CaptionRanks) -> dict[Place, Measured]:
    """Both directions, and the sum of the six recalls."""
    photos = len(ranks.image_to_text)
    text_to_image = retrieval(ranks.text_to_image, of_one_answer(ranks.text_to_image), ranks.photo_of_text)
    precision = average_precision_at(ranks.of_each_answer, ranks.photo_of_text, photos)
    image_to_text = retrieval(ranks.image_to_text, precision, np.arange(photos))
    return {
        ("text_to_image",): text_to_image,
        ("image_to_text",): image_to_text,
        ("rsum",): recall_sum(text_to_image, image_to_text),
    }


def by_pictures(gallery: EncodedGallery) -> dict[Place, Measured]:
    """Every photo asks for photos like it.

    Relevant to a photo are the ten others whose captions are most like its own (CaptionLikeness; those as
    like as the tenth too, those that share no word never), and their gain is that likeness. Photos with none
    do not ask. Of hits with equal scores the less relevant come first. Relevance from captions, judged by
    nDCG, is Messina et al. 2020 (TERN, arXiv 2004.09144, with ROUGE-L and SPICE in place of our word sets).
    """
    likeness = CaptionLikeness([photo.captions for photo in gallery.photos])
    rows = []
    for photo in range(len(gallery.photos)):
        alike = likeness.to(photo)
        gains = np.where((alike > 0) & (alike >= _greatest(alike, DEPTH)[-1]), alike, 0.0)
        if not gains.any():
            continue
        similarity = gallery.images @ gallery.images[photo]
        similarity[photo] = -np.inf
        hits = gains[_best_hits(similarity, gains)]
        right = hits > 0
        precision = average_precision_of_hits(right, int((gains > 0).sum()))
        rows.append((ndcg_at(hits, _greatest(gains, DEPTH)), right[:5].sum() / 5, precision))
    if not rows:
        return {}
    return {("image_to_image",): mean_of(LIKENESS, np.array(rows, np.float64), np.arange(len(rows)))}


def by_both(gallery: EncodedGallery) -> dict[Place, Measured]:
    """A caption asks for its photo together with another photo, at every weight of the words.

    The other photo is the one whose captions are most like those of the photo sought (CaptionLikeness; of
    several, the first in the file), and is itself left out of the gallery. Every caption of every photo asks;
    photos like which there is none are not sought. The question is one vector, as hybrid_query makes it.
    """
    likeness = CaptionLikeness([photo.captions for photo in gallery.photos])
    shown = np.full(len(gallery.photos), -1)
    for photo in range(len(shown)):
        alike = likeness.to(photo)
        if alike.any():
            shown[photo] = alike.argmax()
    asking = np.flatnonzero(shown[gallery.photo_of_text] >= 0)
    if not len(asking):
        return {}
    sought = gallery.photo_of_text[asking]
    texts, pictures = gallery.texts[asking], gallery.images[shown[sought]]
    found: dict[Place, Measured] = {}
    for alpha in ALPHAS:
        ranks = ranks_of_images(
            combined(texts, pictures, alpha), gallery.images, sought, left_out=shown[sought]
        )
        found["hybrid", f"{alpha:g}"] = recalls(ranks, _renumbered(sought))
    return found


def combined(texts: Embeddings, pictures: Embeddings, alpha: float) -> Embeddings:
    """Return l2_normalize(alpha · text + (1 - alpha) · picture), float32 (n, d), row by row."""
    rows = np.float32(alpha) * texts + np.float32(1 - alpha) * pictures
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def by_long_texts(
    gallery: EncodedGallery, ranks: CaptionRanks, encoder: Encoder, advance: Callable[[int], None]
) -> tuple[dict[Place, Measured], int]:
    """Everything said about a photo asks for it, in three ways; also return how many joined texts were cut.

    A photo's first five captions (photos with one caption are not sought): `joined` by spaces, cut where the
    encoder stops reading; `sentence_average`, each encoded alone, their mean made unit length again; and
    `best_single`, the best rank that any of them has alone: what a user could reach who knew which to take.
    """
    own = [
        np.flatnonzero(gallery.photo_of_text == photo)[:JOINED_CAPTIONS]
        for photo in range(len(gallery.photos))
    ]
    sought = np.array([photo for photo, texts in enumerate(own) if len(texts) > 1], np.int64)
    if not len(sought):
        return {}, 0
    joined = [" ".join(gallery.photos[photo].captions[:JOINED_CAPTIONS]) for photo in sought]
    means = np.stack([gallery.texts[own[photo]].mean(axis=0) for photo in sought])
    ways = {
        "joined": ranks_of_images(encode_texts(encoder, joined, advance), gallery.images, sought),
        "sentence_average": ranks_of_images(combined(means, means, 1.0), gallery.images, sought),
        "best_single": np.array([ranks.text_to_image[own[photo]].min() for photo in sought]),
    }
    measured: dict[Place, Measured] = {
        ("long_queries", way): recalls(found, np.arange(len(sought))) for way, found in ways.items()
    }
    return measured, sum(map(encoder.is_truncated, joined))


def bad_cameras() -> dict[tuple[str, int], Distortion]:
    """Return every corruption at every severity, for encode_gallery."""

    def distorting(kind: str, severity: int) -> Distortion:
        return lambda image, number: corrupt(image, kind, severity, number)

    return {(kind, severity): distorting(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES}


def of_bad_photos(gallery: EncodedGallery, ranks: CaptionRanks) -> dict[Place, Measured]:
    """Every caption asks for its photo where all photos are dark, blurred and so on: what is left of R@5."""
    found: dict[Place, Measured] = {}
    of_kind: dict[str, list[Measured]] = {}
    for (kind, severity), images in gallery.encoded.distorted.items():
        of_bad = ranks_of_images(gallery.texts, images, gallery.photo_of_text)
        one = retention(of_bad, ranks.text_to_image, gallery.photo_of_text)
        found["corruptions", kind, str(severity)] = one
        of_kind.setdefault(kind, []).append(one)
    for kind, severities in of_kind.items():
        found["corruptions", kind, "mean"] = average(severities)
    return found


def _best_hits(similarity: NDArray[np.float32], gains: Floats) -> Ranks:
    """Return the ten most similar, best first; of equal ones the less relevant first, and never a -inf."""
    least = max(_greatest(similarity, DEPTH)[-1], np.finfo(np.float32).min)
    near = np.flatnonzero(similarity >= least)
    return np.asarray(near[np.lexsort((gains[near], -similarity[near]))][:DEPTH])


def _greatest(values: NDArray[np.floating], count: int) -> Floats:
    """Return the greatest values in order; all, if there are no more."""
    kept = np.partition(values, -count)[-count:] if len(values) > count else values
    return np.sort(kept.astype(np.float64))[::-1]


def _renumbered(photos: Ranks) -> Ranks:
    """Return the photos' numbers without gaps."""
    return np.asarray(np.unique(photos, return_inverse=True)[1].ravel(), np.int64)
