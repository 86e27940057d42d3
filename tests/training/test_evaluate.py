from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from training import evaluate
from training.evaluate import (
    Recall,
    evaluate_retrieval,
    ranks_of_each_text,
    ranks_of_images,
    ranks_of_texts,
    recall_at_k,
)

CORNERS = np.eye(3, dtype=np.float32)  # three pictures at right angles


class LookupEncoder:
    """An encoder that knows its embeddings by heart: a picture's by its red value, a text's by its words."""

    checkpoint = "lookup"
    fingerprint = "0" * 64
    dimension = 3
    device = "cpu"

    def __init__(self, images: NDArray[np.float32], texts: dict[str, NDArray[np.float32]]) -> None:
        self.images, self.texts = images, texts

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return np.stack([self.images[np.asarray(image)[0, 0, 0]] for image in images])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.texts[text] for text in texts])

    def is_truncated(self, text: str) -> bool:
        return False

    def preprocessing(self) -> dict[str, object]:
        return {}


def unit(*row: float) -> NDArray[np.float32]:
    return (np.array(row) / np.linalg.norm(row)).astype(np.float32)


def test_a_text_ranks_its_image_among_all_images() -> None:
    texts = np.stack([unit(3, 2, 1), unit(3, 2, 1), unit(3, 2, 1), unit(0, 0, 1)])
    assert ranks_of_images(texts, CORNERS, np.array([0, 1, 2, 2])).tolist() == [1, 2, 3, 1]


def test_an_image_is_answered_by_the_best_of_its_texts() -> None:
    texts = np.stack([unit(1, 0, 0.1), unit(0.2, 1, 1), unit(1, 0.05, 0), unit(1, 0, 0.9)])
    image_of_text = np.array([0, 0, 1, 2])
    # image 0 finds text 2 before its own two; image 1 and image 2 find text 1 (of image 0) before their own
    assert ranks_of_texts(CORNERS, texts, image_of_text).tolist() == [2, 2, 2]
    assert ranks_of_texts(CORNERS[:1], texts[:2], image_of_text[:2]).tolist() == [1]


def test_recall_is_the_percent_of_ranks_up_to_k() -> None:
    ranks = np.array([1, 2, 5, 6])
    assert [recall_at_k(ranks, k) for k in (1, 5, 10)] == [25.0, 75.0, 100.0]


def test_an_encoder_that_maps_everything_to_one_point_finds_nothing() -> None:
    same = np.tile(unit(1, 1, 1), (20, 1))
    own = np.arange(20)
    assert ranks_of_images(same, same, own).tolist() == [20] * 20
    assert ranks_of_texts(same, same, own).tolist() == [20] * 20


ROWS_WITH_TIES = st.lists(
    st.integers(-1, 1), min_size=3, max_size=3
)  # whole numbers: ties, and exact products


@given(
    images=st.lists(ROWS_WITH_TIES, min_size=1, max_size=5),
    texts=st.lists(st.tuples(st.integers(0, 4), ROWS_WITH_TIES), max_size=9),
    first=ROWS_WITH_TIES,
)
def test_every_text_ranks_where_its_image_would_list_it(
    images: list[list[int]], texts: list[tuple[int, list[int]]], first: list[int]
) -> None:
    owners = [*range(len(images)), *(owner % len(images) for owner, _ in texts)]  # at least one text each
    rows = np.array([*([first] * len(images)), *(row for _, row in texts)], np.float32)
    pictures = np.array(images, np.float32)
    ranks = ranks_of_each_text(pictures, rows, np.array(owners))
    for image, picture in enumerate(pictures):
        similarity = rows @ picture
        # best first; of equals the foreign come first, which is what counts against us
        listed = sorted(range(len(rows)), key=lambda text: (-similarity[text], owners[text] == image))
        expected = [place for place, text in enumerate(listed, start=1) if owners[text] == image]
        own = [text for text in range(len(rows)) if owners[text] == image]
        assert sorted(ranks[own]) == expected
        assert all(
            similarity[one] >= similarity[other] for one in own for other in own if ranks[one] < ranks[other]
        )
        assert ranks_of_texts(pictures, rows, np.array(owners))[image] == expected[0]


def test_a_picture_that_a_text_does_not_ask_is_in_nobodys_way() -> None:
    texts = np.stack([unit(3, 2, 1), unit(1, 2, 3)])
    own, left_out = np.array([1, 1]), np.array([0, 0])
    assert ranks_of_images(texts, CORNERS, own).tolist() == [2, 2]
    assert ranks_of_images(texts, CORNERS, own, left_out=left_out).tolist() == [1, 2]


def test_ranks_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, texts = (rng.standard_normal((n, 8)).astype(np.float32) for n in (20, 50))
    image_of_text = np.sort(np.concatenate([np.arange(20), rng.integers(0, 20, 30)]))
    whole = ranks_of_images(texts, images, image_of_text), ranks_of_texts(images, texts, image_of_text)
    each = ranks_of_each_text(images, texts, image_of_text)
    monkeypatch.setattr(evaluate, "QUERIES_AT_ONCE", 7)
    assert np.array_equal(whole[0], ranks_of_images(texts, images, image_of_text))
    assert np.array_equal(whole[1], ranks_of_texts(images, texts, image_of_text))
    assert np.array_equal(each, ranks_of_each_text(images, texts, image_of_text))


def test_an_encoder_is_asked_every_caption_and_every_picture() -> None:
    pictures = [Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(3)]
    texts = {"a": unit(1, 0, 0), "b": unit(0, 1, 0.5), "c": unit(0, 1, 0), "d": unit(1, 0, 0.5)}
    retrieval = evaluate_retrieval(LookupEncoder(CORNERS, texts), pictures, [["a"], ["b", "c"], ["d"]])
    assert retrieval.text_to_image == Recall(75.0, 100.0, 100.0)  # "d" finds picture 0 first
    assert retrieval.image_to_text.recall_at_1 == pytest.approx(200 / 3)  # so does picture 2 "b", by a hair
    assert retrieval.image_to_text.recall_at_5 == 100.0


@pytest.mark.parametrize("captions", [[["a"]], [["a"], []]])
def test_a_picture_without_a_caption_is_an_error(captions: list[list[str]]) -> None:
    encoder = LookupEncoder(CORNERS, {"a": unit(1, 0, 0)})
    with pytest.raises(ValueError, match="caption"):
        evaluate_retrieval(encoder, [Image.new("RGB", (4, 4))] * 2, captions)
