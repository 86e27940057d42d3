"""What a question in words wants gone: "a man without a hat" is "a man", without "a hat".

Encoders hardly hear "without" and "no", and look for the hat (Alhamoud et al. 2025, arXiv 2501.09425). So
rules for English and Vietnamese find what is negated; the encoder sees the rest, and SQL's without() takes
the concept out of it. What stands in quotation marks is never taken apart, nor is what only
looks negated ("no parking").
"""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Understood:
    """The words that are asked for, empty if all are negated, and the concepts that are not wanted."""

    text: str
    without: tuple[str, ...] = ()


def _any_of(phrases: str) -> str:
    """Return a pattern of phrases, one a line or separated by two spaces; the longest first."""
    each = sorted((phrase.strip() for phrase in re.split(r"\n|  +", phrases) if phrase.strip()), key=len)
    return "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in reversed(each))


_CUES = """
    without  without any  w/o  lacking  excluding  except  except for
    no  with no  but no  and no  with not  not  but not  and not  never  cannot
    isn't  aren't  wasn't  weren't  doesn't  don't  didn't  hasn't  haven't  can't
    không  không có  không hề  không hề có  không phải  không phải là  chưa  chưa có  chẳng  chẳng có
    thiếu  vắng  ngoại trừ  khong co
"""
# What begins like a negation and is none: idioms, names of things, Vietnamese words with không in them.
_NONE = """
    no parking  no entry  no smoking  no stopping  no trespassing  no swimming  no fishing  no diving
    no exit  no vacancy  no u-turn  no left turn  no right turn  no littering  no man's land
    no matter  no doubt  no longer  no more than  no less than  no fewer than  no.
    not only  not just  not merely  not even  not to mention  don't walk
    không khí  không gian  không trung  không quân  không phận  không lưu  không vận  không người lái
    không chỉ  không những  không ngừng  không thôi  không sao
"""
_BEFORE_NONE = (  # … and what makes one of a word before it
    "says  saying  said  reads  reading  sign  signs  whether or  or  if  why"
    "  hàng  trên  giữa  số  tầng  tay  hay  có phải"
)
# Words that only led to the negation.
_LEADING = """
    with  and  but  who  that  which  is  are  was  were  am  be  does  do  did  has  have  had  having
    there  there is  there are  it  he  she  they  wearing  where
    và  nhưng  mà  thì  là  có  với  đang
"""
# Where the negated words end. A verb in -ing takes its own places along: "not looking at the camera".
_CLAUSE = "and  but  while  who  that  which  whose  because  when  where  as  và  nhưng  mà  khi  còn  nên"
_PLACE = """
    with  in  on  at  by  near  under  over  behind  beside  next to  in front of  inside  outside  during
    through  across  along  around  into  onto  from  to  for  is  are  was  were  standing  sitting  running
    walking  playing  riding  jumping  swimming  lying  holding  wearing
    ở  trên  trong  tại  dưới  bên  cạnh  gần  sau  trước  ngoài  giữa  với  đang  đứng  ngồi  chạy  đi  nằm
    chơi  cưỡi  bơi  nhảy  bay  cầm
"""
_DETERMINERS = re.compile(r"^(?:any|một|bất kỳ|cái nào|của)\s+", re.IGNORECASE)
_FIRST_WORD = re.compile(r"(?:(?:an?|the|any|his|her|their|its|một|bất kỳ)\s+)?\w+", re.IGNORECASE)
_ALTERNATIVES = re.compile(r"\s+(?:or|nor|hoặc|hay|lẫn)\s+", re.IGNORECASE)

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)'[^']*'(?!\w)")
_CUE = re.compile(rf"(?<![\w'’-])(?:{_any_of(_CUES)})(?![\w'’-])", re.IGNORECASE)
_CUE_AGAIN = re.compile(rf"^(?:{_any_of(_CUES)})\s+", re.IGNORECASE)  # "no cats or no dogs"
_NOT_A_CUE = re.compile(rf"(?:{_any_of(_NONE)}|no\s+\d)(?!\w)|no\.", re.IGNORECASE)
_LED = re.compile(rf"(?<!\w)(?:{_any_of(_BEFORE_NONE)})\s+$", re.IGNORECASE)
_LEAD = re.compile(rf"(?<!\w)(?:{_any_of(_LEADING)})$", re.IGNORECASE)
_MARK = r"[,;:.!?()]"
_END = re.compile(rf"\s*(?:{_MARK}|(?<!\w)(?:{_any_of(_CLAUSE)}|{_any_of(_PLACE)})(?!\w))", re.IGNORECASE)
_END_OF_CLAUSE = re.compile(rf"\s*(?:{_MARK}|(?<!\w)(?:{_any_of(_CLAUSE)})(?!\w))", re.IGNORECASE)
_DOING = re.compile(r"\w{2,}ing\s", re.IGNORECASE)


def read_negation(text: str) -> Understood:
    """Return what is asked for and what is not wanted; where nothing is negated, the text just as it came."""
    left = unicodedata.normalize("NFC", text)
    kept, without = "", list[str]()
    while (found := _next_cue(left)) is not None:
        before, after = left[: found.start()], left[found.end() :]
        concepts, rest = _negated(after)
        if not concepts:  # "is there a dog or not?", "có con chó không?"
            kept, left = kept + left[: found.end()], after
            continue
        kept, left = kept + _without_lead(before), rest
        without += concepts
    if not without:
        return Understood(text)
    return Understood(_tidy(kept + left), tuple(without))


def _next_cue(text: str) -> re.Match[str] | None:
    quoted = [found.span() for found in _QUOTED.finditer(text)]
    for cue in _CUE.finditer(text):
        is_quoted = any(start <= cue.start() < end for start, end in quoted)
        if not (is_quoted or _NOT_A_CUE.match(text, cue.start()) or _LED.search(text[: cue.start()])):
            return cue
    return None


def _negated(after: str) -> tuple[list[str], str]:
    """Return the concepts that a cue negates, and the text behind them."""
    after = after.lstrip()
    end = (_END_OF_CLAUSE if _DOING.match(after) else _END).search(after, _first_word(after))
    span, rest = (after, "") if end is None else (after[: end.start()], after[end.start() :])
    concepts = [
        _DETERMINERS.sub("", _CUE_AGAIN.sub("", each.strip())).strip() for each in _ALTERNATIVES.split(span)
    ]
    return [concept for concept in concepts if re.search(r"\w", concept)], rest


def _without_lead(before: str) -> str:
    """Return the words before a cue without those that only led to it; "who" of "who has no hat", say."""
    while (shorter := _LEAD.sub("", before.rstrip(" \t\n,;:"))) != before:
        before = shorter
    return before


def _first_word(text: str) -> int:
    """Return where the first word ends, in "a running dog" the second: it is negated, whatever it is."""
    found = _FIRST_WORD.match(text)
    return found.end() if found else 0


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" ,;:")
    text = re.sub(r"\s+([,;:.!?])", r"\1", text)
    return text if re.search(r"\w", text) else ""
