"""What ranks say: recall, median and mean rank, MRR, mAP and nDCG, over questions that belong to photos.

A figure is a function of how often each photo counts. With every photo once it is the figure itself; with
the photos drawn by lot it is one resample of training.bootstrap. So there is one definition for both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]

DEPTH = 10
"""As far as people look: average precision and nDCG count this many hits."""
RECALLS = ("recall_at_1", "recall_at_5", "recall_at_10")
RETRIEVAL = (*RECALLS, "median_rank", "mean_rank", "mean_reciprocal_rank", "map_at_10")
LIKENESS = ("ndcg_at_10", "precision_at_5", "map_at_10")


@dataclass(frozen=True, slots=True)
class Measured:
    """Named figures of one kind of question, as a function of how often each photo counts."""

    names: tuple[str, ...]
    figures: Callable[[Floats], Floats]
    """Takes weights float64 (b, photos), whole numbers; returns float64 (b, names)."""
    photos: int
    """Photos with at least one question: every weight stands for one of these."""
    questions: int

    def values(self) -> dict[str, float]:
        """Return the figures by name, every photo counting once."""
        return dict(zip(self.names, self.figures(np.ones((1, self.photos)))[0].tolist(), strict=True))


def retrieval(ranks: Ranks, average_precision: Floats, photo_of_question: Ranks) -> Measured:
    """Return what is said of one direction of retrieval: RETRIEVAL, recalls in percent.

    Args:
        ranks: int64 (questions,), from 1; where an answer is right in several ways, its best.
        average_precision: float64 (questions,), by average_precision_at or of_one_answer.
        photo_of_question: int64 (questions,), from 0; every number up to the greatest occurs.
    """
    recalled = [100.0 * (ranks <= k) for k in (1, 5, 10)]
    means = mean_of(
        [name for name in RETRIEVAL if name != "median_rank"],
        np.column_stack([*recalled, ranks, 1 / ranks, average_precision]),
        photo_of_question,
    )
    order = np.argsort(ranks, kind="stable")
    sorted_ranks, photo_of_sorted = ranks[order], photo_of_question[order]

    def figures(weights: Floats) -> Floats:
        median = _weighted_median(sorted_ranks, weights[:, photo_of_sorted])
        return np.insert(means.figures(weights), RETRIEVAL.index("median_rank"), median, axis=1)

    return Measured(RETRIEVAL, figures, means.photos, means.questions)


def first_hits(ranks: Ranks, photo_of_question: Ranks) -> Measured:
    """Return what can be said where only the first ten hits are known: recalls and mAP at 10.

    Arguments as in retrieval; each question has one right answer, and where it is not among the ten, its rank
    is any number above that.
    """
    recalled = [100.0 * (ranks <= k) for k in (1, 5, 10)]
    values = np.column_stack([*recalled, of_one_answer(ranks)])
    return mean_of((*RECALLS, "map_at_10"), values, photo_of_question)


def recalls(ranks: Ranks, photo_of_question: Ranks) -> Measured:
    """Return recall at 1, 5 and 10 alone, in percent; arguments as in retrieval."""
    return mean_of(RECALLS, np.column_stack([100.0 * (ranks <= k) for k in (1, 5, 10)]), photo_of_question)


def recall_sum(text_to_image: Measured, image_to_text: Measured) -> Measured:
    """Return RSUM, the sum of all six recalls, at most 600 (Faghri et al. 2018, VSE++, arXiv 1707.05612)."""

    def figures(weights: Floats) -> Floats:
        both = [one.figures(weights)[:, : len(RECALLS)] for one in (text_to_image, image_to_text)]
        return np.asarray(np.sum(both, axis=(0, 2))[:, None], np.float64)

    return Measured(
        ("rsum",), figures, text_to_image.photos, text_to_image.questions + image_to_text.questions
    )


def retention(ranks: Ranks, ranks_before: Ranks, photo_of_question: Ranks) -> Measured:
    """Return recall at 5 in percent, and in percent of what it was before (NaN where that was nothing)."""
    hits = mean_of(
        ("recall_at_5", "before"),
        np.column_stack([100.0 * (ranks <= 5), 100.0 * (ranks_before <= 5)]),
        photo_of_question,
    )

    def figures(weights: Floats) -> Floats:
        now, before = hits.figures(weights).T
        kept = np.divide(100 * now, before, out=np.full_like(now, np.nan), where=before > 0)
        return np.column_stack([now, kept])

    return Measured(("recall_at_5", "retention_at_5"), figures, hits.photos, hits.questions)


def mean_of(names: Sequence[str], values: Floats, photo_of_question: Ranks) -> Measured:
    """Return the means over questions of values float64 (questions, names).

    Made of the sums over each photo's questions, so that a resample is two matrix products.
    """
    asked = np.bincount(photo_of_question).astype(np.float64)  # (photos,)
    assert asked.all(), "every photo needs a question"
    sums = np.column_stack([np.bincount(photo_of_question, weights=column) for column in values.T])

    def figures(weights: Floats) -> Floats:
        return np.asarray((weights @ sums) / (weights @ asked)[:, None])

    return Measured(tuple(names), figures, len(asked), len(values))


def average(alike: Sequence[Measured]) -> Measured:
    """Return the mean of figures of the same names, of the same questions."""
    return replace(alike[0], figures=lambda weights: np.mean([one.figures(weights) for one in alike], axis=0))


def of_one_answer(ranks: Ranks) -> Floats:
    """Return average precision at 10, float64 (questions,), of questions with a single right answer."""
    return np.where(ranks <= DEPTH, 1 / ranks, 0.0)


def average_precision_at(ranks: Ranks, question_of_answer: Ranks, questions: int) -> Floats:
    """Return average precision at 10, float64 (questions,), of questions with one right answer or several.

    The sum of the precisions at each right answer among the first ten, over the most that could be there:
    min(10, right answers). No answer right gives 0. Source: Manning, Raghavan and Schütze 2008, Introduction
    to Information Retrieval, section 8.4, cut off at 10.

    Args:
        ranks: int64 (answers,), the rank of every right answer, distinct within a question.
        question_of_answer: int64 (answers,).
        questions: how many there are.
    """
    order = np.lexsort((ranks, question_of_answer))
    ranks, question = ranks[order], question_of_answer[order]
    right = np.bincount(question, minlength=questions)
    first = np.cumsum(right) - right
    place = np.arange(len(ranks)) - first[question] + 1  # 1 for a question's best answer, 2 for its second
    precision = np.where(ranks <= DEPTH, place / ranks, 0.0)
    summed = np.bincount(question, weights=precision, minlength=questions)
    return np.asarray(summed / np.clip(right, 1, DEPTH), np.float64)


def average_precision_of_hits(right: NDArray[np.bool_], right_in_all: int) -> float:
    """Return average precision at 10 of the first hits in order, as average_precision_at."""
    right = right[:DEPTH]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].sum()) / min(right_in_all, DEPTH)


def ndcg_at(gains: Floats, best_gains: Floats) -> float:
    """Return nDCG at 10 from the gains of the hits in order, and the greatest gains there are in order.

    Gains count as they are, the hit at rank r by 1/log2(1 + r). Source: Järvelin and Kekäläinen 2002,
    Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), with the discount of Burges et al. 2005.
    """
    best = _discounted(best_gains)
    return _discounted(gains) / best if best > 0 else 0.0


def _weighted_median(values: Ranks, weights: Floats) -> Floats:
    """Return float64 (b,): the median of sorted values (n,), each repeated as often as weights (b, n) say."""
    counted = np.cumsum(weights, axis=1)
    total = counted[:, -1]
    middle = [(counted <= np.floor(half)[:, None]).sum(axis=1) for half in ((total - 1) / 2, total / 2)]
    return np.asarray((values[middle[0]] + values[middle[1]]) / 2)


def _discounted(gains: Floats) -> float:
    return float((gains[:DEPTH] / np.log2(np.arange(2, 2 + len(gains[:DEPTH])))).sum())
