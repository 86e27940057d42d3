"""How much a model still knows of what it did before fine-tuning: do questions find the same photos?"""

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]

SUBJECTS = (
    "a dog", "a cat", "a horse", "a bird", "a man", "a woman", "a child", "a baby", "two people", "a crowd",
    "a car", "a bicycle", "a boat", "a train", "a ball", "a chair", "food", "a flower", "a tree", "a house",
)  # fmt: skip
PLACES = (
    "", " indoors", " outdoors", " in the snow", " at night", " on a street", " near water", " on grass",
    " in a room", " seen from far away",
)  # fmt: skip


def general_questions() -> list[str]:
    """Return 200 short questions of everyday things, always the same."""
    return [f"{subject}{place}" for subject in SUBJECTS for place in PLACES]


def agreement(before: Embeddings, now: Embeddings, *, k: int = 10) -> float:
    """Return the mean share, in percent, of each question's first k photos that both models find.

    Args:
        before: float32 (questions, photos), the start's similarities.
        now: float32 (questions, photos), another model's, of the same questions and photos.
        k: photos looked at; all, if there are fewer.
    """
    k = min(k, before.shape[1])
    shares = [
        len(np.intersect1d(one, other)) / k
        for one, other in zip(_first(before, k), _first(now, k), strict=True)
    ]
    return 100 * float(np.mean(shares))


def _first(similarities: Embeddings, k: int) -> NDArray[np.int64]:
    """Return int64 (questions, k): the k photos nearest to each question, in any order."""
    rows: NDArray[np.int64] = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    return rows
