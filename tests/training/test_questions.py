"""Each way of asking against its definition, written out slowly."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.app.pictures import write_pictures
from tests.encoders import FakeEncoder
from training.caption_words import CaptionLikeness, content_words
from training.corruptions import CORRUPTIONS
from training.encoded_gallery import EncodedGallery, EncodedPhotos, encode_gallery
from training.photos import CaptionedPhoto, FileSource
from training.questions import (
    ALPHAS,
    bad_cameras,
    by_both,
    by_captions,
    by_long_texts,
    by_pictures,
    combined,
    of_bad_photos,
    rank_captions,
)

WORDS = ("dog", "cat", "ball", "grass", "water", "beach", "boy", "hill")
NOWHERE = FileSource(Path("nowhere.jpg"))


def gallery_of(captions: list[list[str]], seed: int = 0, values: int = 1) -> EncodedGallery:
    """A gallery whose embeddings are small whole numbers: ties are common, and products exact."""
    rng = np.random.default_rng(seed)
    texts = sum(map(len, captions))
    photos = [CaptionedPhoto(f"{n}.jpg", tuple(said), NOWHERE) for n, said in enumerate(captions)]
    images, words = (
        rng.integers(-values, values + 1, (n, 3)).astype(np.float32) for n in (len(photos), texts)
    )
    of_text = np.repeat(np.arange(len(photos)), [len(said) for said in captions])
    return EncodedGallery(EncodedPhotos(photos, images), words, of_text)


CAPTIONS = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), min_size=1, max_size=3),
    min_size=2,
    max_size=16,
)


def test_content_words_leave_out_what_only_holds_sentences_together() -> None:
    assert content_words(["A dog's running on the grass , again", "TWO dogs"]) == {
        "dog", "running", "grass", "again", "two", "dogs",
    }  # fmt: skip
    decomposed = "Một con cho\u0301 đang chạy trên bãi cỏ."
    assert content_words([decomposed]) == {"chó", "chạy", "bãi", "cỏ"}
    assert content_words(["42 __ !"]) == frozenset()


@given(captions=CAPTIONS)
def test_likeness_is_words_shared_over_words_in_either(captions: list[list[str]]) -> None:
    likeness = CaptionLikeness(captions)
    words = [set(" ".join(said).split()) for said in captions]
    for one in range(len(captions)):
        expected = [
            len(words[one] & words[other]) / max(1, len(words[one] | words[other])) if other != one else 0
            for other in range(len(captions))
        ]
        assert likeness.to(one).tolist() == pytest.approx(expected)


def slow_by_pictures(gallery: EncodedGallery) -> list[tuple[float, float, float]] | None:
    likeness = CaptionLikeness([photo.captions for photo in gallery.photos])
    rows = []
    for photo in range(len(gallery.photos)):
        alike = likeness.to(photo)
        others = [other for other in range(len(alike)) if other != photo]
        tenth = sorted((alike[other] for other in others), reverse=True)[:10][-1]
        gain = {other: alike[other] if alike[other] >= tenth else 0.0 for other in others}
        if not any(gain.values()):
            continue
        similarity = gallery.images @ gallery.images[photo]
        hits = sorted(others, key=lambda other: (-similarity[other], gain[other]))[:10]
        best = sorted(gain.values(), reverse=True)[:10]

        def discounted(gains: list[float]) -> float:
            return sum(one / math.log2(1 + rank) for rank, one in enumerate(gains, start=1))

        right = [gain[hit] > 0 for hit in hits]
        precisions = [sum(right[:rank]) / rank for rank in range(1, len(hits) + 1) if right[rank - 1]]
        relevant = sum(one > 0 for one in gain.values())
        rows.append(
            (
                discounted([gain[hit] for hit in hits]) / discounted(best),
                sum(right[:5]) / 5,
                sum(precisions) / min(10, relevant),
            )
        )
    return rows or None


@given(captions=CAPTIONS, seed=st.integers(0, 1000))
def test_pictures_are_asked_for_pictures_like_them(captions: list[list[str]], seed: int) -> None:
    gallery = gallery_of(captions, seed)
    found = by_pictures(gallery)
    expected = slow_by_pictures(gallery)
    if expected is None:
        assert found == {}
    else:
        measured = found[("image_to_image",)]
        assert list(measured.values().values()) == pytest.approx(np.mean(expected, axis=0).tolist())
        assert measured.photos == len(expected)


@given(captions=CAPTIONS, seed=st.integers(0, 1000))
def test_words_and_a_picture_ask_for_a_photo_like_it(captions: list[list[str]], seed: int) -> None:
    gallery = gallery_of(captions, seed)
    likeness = CaptionLikeness([photo.captions for photo in gallery.photos])
    found = by_both(gallery)
    for alpha in ALPHAS:
        ranks = []
        for text, sought in enumerate(gallery.photo_of_text):
            alike = likeness.to(sought).tolist()
            if max(alike) == 0:
                continue
            shown = alike.index(max(alike))  # the first in the file
            question = combined(gallery.texts[[text]], gallery.images[[shown]], alpha)[0]
            similarity = gallery.images @ question
            others = [photo for photo in range(len(alike)) if photo != shown]
            ranks.append(sum(similarity[photo] >= similarity[sought] for photo in others))
        if not ranks:
            assert found == {}
            return
        figures = found["hybrid", f"{alpha:g}"].values()
        assert figures == pytest.approx(
            {f"recall_at_{k}": 100 * np.mean(np.array(ranks) <= k) for k in (1, 5, 10)}
        )


def test_words_and_a_picture_are_combined_as_the_database_does() -> None:
    text, picture = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    assert combined(text, picture, 0.6)[0] == pytest.approx([0.8320503, 0.5547002])  # docs: hybrid_query
    assert combined(text, picture, 1.0).tolist() == text.tolist()
    assert combined(text, picture, 0.0).tolist() == picture.tolist()
    assert np.isfinite(combined(text, -text, 0.5)).all()


@pytest.fixture
def drawn(tmp_path: Path) -> EncodedGallery:
    """Twelve drawn photos with seven captions each, but one with a single caption."""
    write_pictures(tmp_path, 12)
    rng = np.random.default_rng(0)
    photos = [
        CaptionedPhoto(
            path.name,
            tuple(" ".join(rng.choice(WORDS, 3)) for _ in range(1 if n == 3 else 7)),
            FileSource(path),
        )
        for n, path in enumerate(sorted(tmp_path.iterdir()))
    ]
    return encode_gallery(FakeEncoder(), photos, distortions=bad_cameras())


def test_long_texts_are_joined_averaged_or_the_best_of_them(drawn: EncodedGallery) -> None:
    encoder = FakeEncoder()
    encoder.context_words = 14  # of five times three
    ranks = rank_captions(drawn)
    steps: list[int] = []
    found, truncated = by_long_texts(drawn, ranks, encoder, steps.append)
    assert (truncated, sum(steps)) == (11, 11)
    expected: dict[str, list[int]] = {"joined": [], "sentence_average": [], "best_single": []}
    for sought, photo in enumerate(drawn.photos):
        if len(photo.captions) == 1:
            continue
        five = encoder.encode_texts(photo.captions[:5])
        questions = {
            "joined": encoder.encode_texts([" ".join(photo.captions[:5])])[0],
            "sentence_average": five.mean(axis=0),
        }
        for way, question in questions.items():
            similarity = drawn.images @ question
            expected[way].append(int((similarity >= similarity[sought]).sum()))
        own = ranks.text_to_image[drawn.photo_of_text == sought][:5]
        expected["best_single"].append(int(own.min()))
    for way, plain in expected.items():
        assert found["long_queries", way].values() == pytest.approx(
            {f"recall_at_{k}": 100 * np.mean(np.array(plain) <= k) for k in (1, 5, 10)}
        )
    assert found["long_queries", "joined"].questions == 11


def test_bad_photos_are_measured_by_kind_and_severity(drawn: EncodedGallery) -> None:
    ranks = rank_captions(drawn)
    found = of_bad_photos(drawn, ranks)
    assert {place[1] for place in found} == set(CORRUPTIONS)
    assert {place[2] for place in found} == {"1", "2", "3", "mean"}
    clean = by_captions(ranks)[("text_to_image",)].values()["recall_at_5"]
    for kind in CORRUPTIONS:
        severities = [found["corruptions", kind, str(severity)].values() for severity in (1, 2, 3)]
        for one in severities:
            assert one["retention_at_5"] == pytest.approx(100 * one["recall_at_5"] / clean)
        mean = found["corruptions", kind, "mean"].values()
        assert mean["recall_at_5"] == pytest.approx(np.mean([one["recall_at_5"] for one in severities]))
    distorted = drawn.encoded.distorted
    assert not np.allclose(distorted["dark", 3], distorted["dark", 1])


def test_photos_that_lost_nothing_keep_all(drawn: EncodedGallery) -> None:
    drawn.encoded.distorted.clear()
    drawn.encoded.distorted["untouched", 1] = drawn.images
    kept = of_bad_photos(drawn, rank_captions(drawn))["corruptions", "untouched", "1"]
    assert kept.values()["retention_at_5"] == 100


def test_captions_and_photos_ask_for_each_other(drawn: EncodedGallery) -> None:
    ranks = rank_captions(drawn)
    found = by_captions(ranks)
    similarity = drawn.texts @ drawn.images.T
    own = similarity[np.arange(len(similarity)), drawn.photo_of_text]
    assert ranks.text_to_image.tolist() == (similarity >= own[:, None]).sum(axis=1).tolist()
    assert found[("text_to_image",)].questions == 11 * 7 + 1
    assert found[("image_to_text",)].questions == 12
    recalls = [
        found[(direction,)].values()[f"recall_at_{k}"]
        for direction in ("text_to_image", "image_to_text")
        for k in (1, 5, 10)
    ]
    assert found[("rsum",)].values()["rsum"] == pytest.approx(sum(recalls))
