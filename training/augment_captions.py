"""A caption as another person would have typed it: fewer small words, other words, a slip, no accents.

What comes out is still true of the photo, though it may say less. Words may go, or be exchanged, only where
that cannot turn the sentence round: "a small dog" is a dog, but "no small dog" is not "no dog".
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, slots=True)
class CaptionAugmentation:
    """How often a caption is changed; every value is a probability.

    Raises:
        ValueError: a share is not between 0 and 1.
    """

    drop_share: float = 0.1
    """Of the words that may go (see DROPPABLE)."""
    synonym_share: float = 0.1
    """Of the words that have a synonym here."""
    typo_share: float = 0.03
    """Of the captions: one slip, in one long word."""
    unaccented_share: float = 0.1
    """Of the Vietnamese captions: without accents, as hurried people type."""
    case_share: float = 0.2
    """Of the captions: all small, the first letter large, or (seldom) all large."""
    full_stop_share: float = 0.3
    """Of the captions: a final full stop goes, or comes."""

    def __post_init__(self) -> None:
        for field in fields(self):
            share = getattr(self, field.name)
            if not 0 <= share <= 1:
                raise ValueError(f"{field.name} is {share}; a share lies between 0 and 1")


NO_CAPTION_AUGMENTATION = CaptionAugmentation(
    drop_share=0, synonym_share=0, typo_share=0, unaccented_share=0, case_share=0, full_stop_share=0
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Without prepositions: relations are what encoders learn worst. Without colours and numbers: leaving them out
# would be true, but they are what people ask for and what tells two photos of a batch apart.
DROPPABLE = _words("a an the is are was were his her its their this that who which while there very some")
DROPPABLE_ADJECTIVES = _words("little small large big huge young tall beautiful nice cute colorful")
KEEPS_AN_ADJECTIVE = _words("and or but as than enough to of very so too more how")  # "small and brown" stays

# Syllables, not words: only those that are no part of a longer word.
VIETNAMESE_DROPPABLE = _words("đang những các chiếc rất")
VIETNAMESE_AFTER_AN_ARTICLE = _words(  # "một con chó" may lose its "một"; "một số" and "một nửa" may not
    "con chiếc cái người cậu cô bé đứa quả bức tấm nhóm chú ngôi căn bông cây"
)
VIETNAMESE_PARTS_OF_A_NUMBER = _words("số mười trăm nghìn ngàn")  # mười một: eleven

# Negations, "all but", and words under which saying less claims more ("every old man", "few young people").
TURNING = _words(
    "no not non never none nobody nothing nowhere neither nor without except but instead rather unless until "
    "hardly barely scarcely almost nearly lack lacks lacking missing absent free cannot cant dont isnt arent "
    "doesnt didnt wasnt wont all every everyone everybody everything each any most few fewer less least than "
    "only if both"
)
VIETNAMESE_TURNING = _words(
    "không chẳng chưa chả đừng chớ thiếu trừ vắng tất mọi mỗi đều ít hơn nhất chỉ nếu"
)
TURNING_WITHOUT_ACCENTS = _words("khong chang chua thieu")  # in place of the same words
NOT_SHORTENED = re.compile(r"n\s?['’]\s?t\b", re.IGNORECASE)  # isn't; Flickr8k spells it "isn 't"

NUMBERS_AND_COLOURS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty hundred "
    "dozen single double triple half red orange yellow green blue purple pink brown white black gray grey "
    "silver golden violet maroon beige turquoise crimson scarlet"
)

SYNONYMS: Mapping[str, tuple[str, ...]] = {  # from left to right only: each follows from the word
    "airplane": ("plane", "aeroplane"),
    "atop": ("on top of",),
    "beside": ("next to",),
    "bicycle": ("bike",),  # never back: many a bike is a motorbike
    "bicycles": ("bikes",),
    "bicyclist": ("cyclist",),
    "big": ("large",),
    "blond": ("blonde",),
    "blonde": ("blond",),
    "bunny": ("rabbit",),
    "cellphone": ("mobile phone", "cell phone"),
    "child": ("kid",),
    "children": ("kids",),
    "colorful": ("colourful",),
    "couch": ("sofa",),
    "cyclist": ("bicyclist",),
    "dad": ("father",),
    "eats": ("is eating",),
    "elderly": ("old",),
    "enormous": ("huge",),
    "garbage": ("trash",),
    "gentleman": ("man",),
    "gray": ("grey",),
    "grey": ("gray",),
    "grinning": ("smiling",),
    "guy": ("man",),
    "huge": ("enormous",),
    "infant": ("baby",),
    "jogging": ("running",),
    "kid": ("child",),
    "kids": ("children",),
    "kitten": ("young cat",),
    "kittens": ("young cats",),
    "ladies": ("women",),
    "lady": ("woman",),
    "large": ("big",),
    "leaping": ("jumping",),
    "leaps": ("jumps",),
    "midair": ("mid-air",),
    "mom": ("mother",),
    "motorbike": ("motorcycle",),
    "motorcycle": ("motorbike",),
    "near": ("close to",),
    "numerous": ("many",),
    "ocean": ("sea",),
    "outdoors": ("outside",),
    "photo": ("picture",),
    "puppies": ("young dogs",),
    "puppy": ("young dog",),
    "refrigerator": ("fridge",),
    "sits": ("is sitting",),
    "sleeps": ("is sleeping",),
    "small": ("little",),
    "sofa": ("couch",),
    "staring": ("looking",),
    "stones": ("rocks",),
    "store": ("shop",),
    "street": ("road",),
    "swims": ("is swimming",),
    "t-shirt": ("tee shirt", "tshirt"),
    "toddler": ("small child",),
    "trousers": ("pants",),
    "wears": ("is wearing",),
    "woman": ("lady",),
    "women": ("ladies",),
    "woods": ("forest",),
}

VIETNAMESE_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "bãi biển": ("bờ biển",),
    "bé gái": ("cô bé",),
    "bé trai": ("cậu bé",),
    "bên cạnh": ("kế bên", "cạnh"),
    "bông hoa": ("đóa hoa",),
    "bơi lội": ("bơi",),
    "bức ảnh": ("tấm ảnh", "bức hình"),
    "căn nhà": ("ngôi nhà",),
    "cậu bé": ("bé trai",),
    "chú chó": ("con chó",),
    "chú mèo": ("con mèo",),
    "chú ngựa": ("con ngựa",),
    "con chó": ("chú chó",),
    "con lợn": ("con heo",),
    "con heo": ("con lợn",),
    "con mèo": ("chú mèo",),
    "con ngựa": ("chú ngựa",),
    "con thuyền": ("chiếc thuyền",),
    "cô bé": ("bé gái",),
    "đằng sau": ("phía sau",),
    "đằng trước": ("phía trước",),
    "điện thoại di động": ("điện thoại",),
    "đóa hoa": ("bông hoa",),
    "đứa bé": ("đứa trẻ",),
    "đứa trẻ": ("đứa bé",),
    "kế bên": ("bên cạnh",),
    "khán giả": ("người xem",),
    "khổng lồ": ("rất lớn",),
    "kính mát": ("kính râm",),
    "kính râm": ("kính mát",),
    "màu cam": ("màu da cam",),
    "màu da cam": ("màu cam",),
    "máy ảnh": ("máy chụp hình",),
    "máy bay": ("phi cơ",),
    "mỉm cười": ("cười",),
    "mũ bảo hiểm": ("nón bảo hiểm",),
    "ngắm nhìn": ("ngắm", "nhìn"),
    "ngôi nhà": ("căn nhà",),
    "nhỏ bé": ("nhỏ",),
    "nón bảo hiểm": ("mũ bảo hiểm",),
    "phía sau": ("đằng sau",),
    "phía trước": ("đằng trước",),
    "quả bóng": ("trái bóng",),
    "tàu hỏa": ("xe lửa",),
    "tấm ảnh": ("bức ảnh",),
    "to lớn": ("lớn", "to"),
    "trái banh": ("quả bóng",),
    "trái bóng": ("quả bóng",),
    "trẻ em": ("trẻ con",),
    "vỉa hè": ("lề đường",),
    "xanh lá cây": ("xanh lục",),
    "xanh lục": ("xanh lá cây",),
    "xe gắn máy": ("xe máy",),
    "xe hơi": ("ô tô",),  # never back: an ô tô may be a truck
    "xe lửa": ("tàu hỏa",),
}
LONGEST_PHRASE = 4  # words

VIETNAMESE_LETTER = re.compile(
    "[àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵ]", re.IGNORECASE
)
EDGES = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
SHORTEST_MISTYPED = 6  # letters: a slip in a shorter word often makes another word


def augment_caption(caption: str, rng: np.random.Generator, augmentation: CaptionAugmentation) -> str:
    """Return the caption, said a little differently and still true; never blank unless it was.

    The same rng state gives the same words. A changed caption is NFC with single spaces. A caption with a
    negation or one of its kin (TURNING) keeps all its words, and may only change case, accents, full stop or
    the spelling of another word. Numbers, colours and negations are never mistyped.
    """
    if augmentation == NO_CAPTION_AUGMENTATION or not caption.strip():
        return caption
    text = unicodedata.normalize("NFC", caption)
    vietnamese = VIETNAMESE_LETTER.search(text) is not None
    words = text.split()
    if not is_turned(text):
        words = _with_fewer_words(words, rng, augmentation.drop_share, vietnamese=vietnamese)
        table = VIETNAMESE_SYNONYMS if vietnamese else SYNONYMS
        words = _with_synonyms(words, rng, augmentation.synonym_share, table)
    if rng.random() < augmentation.typo_share:
        words = _with_a_typo(words, rng)
    text = " ".join(words)
    if vietnamese and rng.random() < augmentation.unaccented_share:
        text = without_accents(text)
    if rng.random() < augmentation.case_share:
        text = _in_another_case(text, rng)
    if rng.random() < augmentation.full_stop_share:
        text = _with_full_stop_toggled(text)
    return unicodedata.normalize("NFC", text)  # again: large and small letters do not always compose alike


def without_accents(text: str) -> str:
    """Return the text, NFC, without combining marks and with d for đ: "Mot con duong" of "Một con đường"."""
    letters = unicodedata.normalize("NFD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", bare).translate({ord("đ"): "d", ord("Đ"): "D"})  # letters, no accents


def is_turned(caption: str) -> bool:
    """Say whether a caption holds a word under which saying less claims more: not, without, every, không."""
    text = unicodedata.normalize("NFC", caption)
    if NOT_SHORTENED.search(text):
        return True
    words = set(re.findall(r"[^\W_]+", text.lower()))
    return not words.isdisjoint(TURNING | VIETNAMESE_TURNING | TURNING_WITHOUT_ACCENTS)


def _with_fewer_words(
    words: Sequence[str], rng: np.random.Generator, share: float, *, vietnamese: bool
) -> list[str]:
    may_go = _may_go_in_vietnamese if vietnamese else _may_go_in_english
    lower = ["", *(word.lower() for word in words), ""]
    left = [
        word
        for number, word in enumerate(words)
        if not (may_go(*lower[number : number + 3]) and rng.random() < share)
    ]
    return left if any(character.isalnum() for word in left for character in word) else list(words)


def _may_go_in_english(before: str, word: str, after: str) -> bool:
    if word in DROPPABLE_ADJECTIVES:
        apart = after[:1].isalpha() and not before.endswith(",")
        return apart and KEEPS_AN_ADJECTIVE.isdisjoint({before, after})
    return word in DROPPABLE


def _may_go_in_vietnamese(before: str, word: str, after: str) -> bool:
    if word == "một":
        return after in VIETNAMESE_AFTER_AN_ARTICLE and before not in VIETNAMESE_PARTS_OF_A_NUMBER
    return word in VIETNAMESE_DROPPABLE


def _with_synonyms(
    words: Sequence[str], rng: np.random.Generator, share: float, table: Mapping[str, tuple[str, ...]]
) -> list[str]:
    changed: list[str] = []
    rest = list(words)
    while rest:
        size, before, phrase, after = _longest_phrase(rest, table)
        name = phrase[:1].isupper() and bool(changed)  # Tiger Woods is no forest
        if phrase and not name and rng.random() < share:
            others = table[phrase.lower()]
            other = others[int(rng.random() * len(others))]
            if changed and changed[-1].lower() in {"a", "an"}:
                article = "an" if other[0] in "aeiou" else "a"
                changed[-1] = article.capitalize() if changed[-1][0].isupper() else article
            changed.append(before + (other[0].upper() + other[1:] if phrase[0].isupper() else other) + after)
        else:
            changed += rest[:size]
        rest = rest[size:]
    return changed


def _longest_phrase(words: Sequence[str], table: Mapping[str, tuple[str, ...]]) -> tuple[int, str, str, str]:
    """Return how many of the first words are a phrase of the table, and it between its punctuation."""
    for size in range(min(LONGEST_PHRASE, len(words)), 0, -1):
        before, phrase, after = _parted(" ".join(words[:size]))
        if phrase.lower() in table:
            return size, before, phrase, after
    return 1, "", "", ""


def _with_a_typo(words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Swap, drop or double one letter, never the first, of one long word."""
    mistyped = list(words)
    kept = NUMBERS_AND_COLOURS | TURNING | VIETNAMESE_TURNING | TURNING_WITHOUT_ACCENTS
    long_words = [
        number
        for number, word in enumerate(words)
        if len(bare := _parted(word)[1]) >= SHORTEST_MISTYPED and bare.isalpha() and bare.lower() not in kept
    ]
    if not long_words:
        return mistyped
    number = long_words[int(rng.random() * len(long_words))]
    before, word, after = _parted(words[number])
    at = 1 + int(rng.random() * (len(word) - 2))
    one, next_one = word[at], word[at + 1]
    slip = (next_one + one, next_one, one + one + next_one)[int(rng.random() * 3)]
    mistyped[number] = before + word[:at] + slip + word[at + 2 :] + after
    return mistyped


def _in_another_case(text: str, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.45:
        return text.lower()
    return text[0].upper() + text[1:] if chance < 0.9 else text.upper()


def _with_full_stop_toggled(text: str) -> str:
    if text.endswith("."):
        without = text.rstrip(".").rstrip()
        return without or text
    return f"{text}." if text[-1].isalnum() else text


def _parted(word: str) -> tuple[str, str, str]:
    """Return the punctuation before, the word, the punctuation after."""
    match = EDGES.fullmatch(word)
    assert match is not None  # every string matches
    return match[1], match[2], match[3]
