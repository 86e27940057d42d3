"""How alike two photos are by what was said about them: the words that their captions share.

It serves where a data set has no labels for likeness. Encoders do not see it, so none is favoured; but it
knows only words, not what they mean: "a dog" and "a puppy" share nothing.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W\d_]+")
# Words that hold sentences together in English and Vietnamese, and Vietnamese classifiers; numbers count.
_STOP_WORDS = """
    a an the this that these those there here some any other another each
    i he she it we they him her them his hers its our their who whom whose which what
    am is are was were be been being has have had having do does did doing will would can could may s t
    of in on at to from by for with without into onto over under above below up down out off near next
    through across along around behind before after between beside against toward towards during about
    and or but nor so than then as if while when where not no very just also too
    một những các mọi mỗi vài cái con chiếc bức tấm cuộc sự việc
    này kia đó đây ấy nào gì ai họ nó
    là được bị có đang đã sẽ vẫn cũng rất hay và hoặc nhưng mà thì như khi để do vì bởi
    của ở tại trong ngoài trên dưới trước sau giữa bên cạnh gần từ đến tới với cùng cho về theo qua vào ra
    lên xuống lại nhau không
"""
_STOP = frozenset(_STOP_WORDS.split())


def content_words(captions: Sequence[str]) -> frozenset[str]:
    """Return the words of some captions: runs of letters, case folded, in NFC, without the stop list.

    Words are not stemmed, and Vietnamese is taken by the syllable.
    """
    text = unicodedata.normalize("NFC", " ".join(captions)).casefold()
    return frozenset(_WORD.findall(text)) - _STOP


class CaptionLikeness:
    """Of any photo, how alike each other photo is: the Jaccard index of their captions' content words."""

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        """Take all captions of each of n photos."""
        words = [content_words(of_one) for of_one in captions]
        photos_with: dict[str, list[int]] = {}
        for photo, of_photo in enumerate(words):
            for word in of_photo:
                photos_with.setdefault(word, []).append(photo)
        self._words = words
        self._sizes = np.array([len(of_photo) for of_photo in words])
        self._photos_with = {word: np.array(photos) for word, photos in photos_with.items()}

    def to(self, photo: int) -> NDArray[np.float64]:
        """Return float64 (n,), from 0 to 1: words shared over words in either. To itself a photo is 0."""
        shared = np.zeros(len(self._words), np.int64)
        for word in self._words[photo]:
            shared[self._photos_with[word]] += 1
        either = self._sizes + self._sizes[photo] - shared
        alike = np.divide(shared, either, out=np.zeros(len(shared)), where=either > 0)
        alike[photo] = 0.0
        return np.asarray(alike, np.float64)
