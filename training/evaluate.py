"""How well an encoder finds pictures by words and words by pictures, by the field's convention.

A tie counts against us everywhere. Other figures than recall, and intervals, are made of these ranks by
training.metrics and training.bootstrap; training.questions asks in other ways.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding.encoder import Encoder

Embeddings = NDArray[np.float32]
Input = TypeVar("Input")

QUERIES_AT_ONCE = 1024  # bounds memory: one block of similarities is 1024 x gallery
INPUTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Recall:
    """Percent of the questions whose answer is among the first 1, 5 and 10 hits."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Both directions, over the same pictures and all their captions."""

    text_to_image: Recall
    image_to_text: Recall


def evaluate_retrieval(
    encoder: Encoder, images: Sequence[Image.Image], captions: Sequence[Sequence[str]]
) -> Retrieval:
    """Return recall of an encoder on decoded RGB images, captions[i] being all the captions of images[i].

    Every caption is one question to the pictures; every picture is one question to all the captions, answered
    by any of its own (Karpathy and Fei-Fei 2015, arXiv 1412.2306, section 4.2, and everyone since).

    Raises:
        ValueError: images and captions differ in length, or an image has no caption.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images, but captions for {len(captions)}")
    if not all(captions):
        raise ValueError("every image needs a caption")
    image_of_text = np.repeat(np.arange(len(images)), [len(of_one) for of_one in captions])
    texts = [caption for of_one in captions for caption in of_one]
    image_embeddings = np.concatenate([encoder.encode_images(block) for block in _blocks(images)])
    text_embeddings = np.concatenate([encoder.encode_texts(block) for block in _blocks(texts)])
    return Retrieval(
        text_to_image=_recall(ranks_of_images(text_embeddings, image_embeddings, image_of_text)),
        image_to_text=_recall(ranks_of_texts(image_embeddings, text_embeddings, image_of_text)),
    )


def recall_at_k(ranks: NDArray[np.int64], k: int) -> float:
    """Return the percent of questions answered among the first k hits, from ranks int64 (n,), 1 the best."""
    return 100 * float((ranks <= k).mean())


def ranks_of_images(
    text_embeddings: Embeddings,
    image_embeddings: Embeddings,
    image_of_text: NDArray[np.int64],
    *,
    left_out: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return int64 (texts,): the rank, from 1, at which each text finds its one image among all images.

    Embeddings are float32 (texts, d) and (images, d), unit rows; image_of_text is int64 (texts,), a row of
    the images. left_out, int64 (texts,), is an image that this text does not ask, never its own. Exact. A
    tie counts against us: an encoder that maps everything to one point finds nothing.
    """
    ranks = []
    for rows, similarity in _similarities(text_embeddings, image_embeddings):
        if left_out is not None:
            similarity[np.arange(len(similarity)), left_out[rows]] = -np.inf
        own = similarity[np.arange(len(similarity)), image_of_text[rows]]  # (block,)
        ranks.append((similarity >= own[:, None]).sum(axis=1))
    return np.concatenate(ranks)


def ranks_of_texts(
    image_embeddings: Embeddings, text_embeddings: Embeddings, image_of_text: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64 (images,): the rank, from 1, at which each image finds the best of its texts among all.

    Arguments as in ranks_of_images; every image owns at least one text. A tie with a foreign text counts
    against us; an image's other texts never do.
    """
    ranks = []
    for rows, similarity in _similarities(image_embeddings, text_embeddings):
        owned = image_of_text[None, :] == rows[:, None]  # (block, texts)
        best = np.where(owned, similarity, -np.inf).max(axis=1)  # (block,)
        ranks.append(1 + ((similarity >= best[:, None]) & ~owned).sum(axis=1))
    return np.concatenate(ranks)


def ranks_of_each_text(
    image_embeddings: Embeddings, text_embeddings: Embeddings, image_of_text: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64 (texts,): the rank, from 1, at which each text comes among all when its own image asks.

    Arguments and ties as in ranks_of_texts; the texts of one image have ranks of their own, the best of them
    that of ranks_of_texts.
    """
    ranks = np.empty(len(image_of_text), np.int64)
    for rows, similarity in _similarities(image_embeddings, text_embeddings):
        texts = np.flatnonzero((image_of_text >= rows[0]) & (image_of_text <= rows[-1]))
        row = image_of_text[texts] - rows[0]
        own = similarity[row, texts]
        order = np.lexsort((-own, row))
        of_image = np.bincount(row, minlength=len(rows))
        place = np.arange(len(order)) - (np.cumsum(of_image) - of_image)[row[order]]  # 0 for an image's best
        ranks[texts[order]] = 1 + place
        for start in range(0, len(texts), INPUTS_AT_ONCE):  # bounds memory: 64 x texts
            some = slice(start, start + INPUTS_AT_ONCE)
            foreign = image_of_text[None, :] != image_of_text[texts[some], None]  # (some, texts)
            ranks[texts[some]] += ((similarity[row[some]] >= own[some, None]) & foreign).sum(axis=1)
    return ranks


def _similarities(
    queries: Embeddings, gallery: Embeddings
) -> Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield row numbers int64 (block,) and their cosine similarities float32 (block, gallery)."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE]
        yield np.arange(start, start + len(block)), block @ gallery.T


def _recall(ranks: NDArray[np.int64]) -> Recall:
    return Recall(recall_at_k(ranks, 1), recall_at_k(ranks, 5), recall_at_k(ranks, 10))


def _blocks(inputs: Sequence[Input]) -> Iterable[Sequence[Input]]:
    return (inputs[start : start + INPUTS_AT_ONCE] for start in range(0, len(inputs), INPUTS_AT_ONCE))
