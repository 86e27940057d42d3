from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.captions import load_flickr8k_captions
from training.errors import CaptionsError

CAPTION = (
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
    .map(str.strip)
    .filter(bool)
)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "captions.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captions")


@pytest.mark.parametrize(
    "content",
    [
        "image,caption\na.jpg,a dog\nb.jpg,a cat, asleep\na.jpg,a brown dog\n",
        "a.jpg,a dog\nb.jpg,a cat, asleep\na.jpg,a brown dog",
        "image,caption\r\na.jpg,a dog\r\nb.jpg,a cat, asleep\r\na.jpg,a brown dog\r\n",
        b"\xef\xbb\xbfimage,caption\na.jpg,a dog\n\n  \nb.jpg,a cat, asleep\na.jpg, a brown dog \n",
        'image,caption\na.jpg,"a dog"\nb.jpg,"a cat, asleep"\n"a.jpg","a brown dog"\n',
        "a.jpg#0\ta dog\nb.jpg#0\ta cat, asleep\na.jpg#1\ta brown dog\n",
    ],
    ids=["header", "no header", "crlf", "bom and blank lines", "quoted", "numbered"],
)
def test_every_common_form_is_read_alike_and_in_order(folder: Path, content: str | bytes) -> None:
    captions = load_flickr8k_captions(write(folder, content))
    assert list(captions.items()) == [("a.jpg", ["a dog", "a brown dog"]), ("b.jpg", ["a cat, asleep"])]


@given(caption=CAPTION)
def test_any_caption_survives_a_quoted_round_trip(folder: Path, caption: str) -> None:
    quoted = caption.replace('"', '""')
    assert load_flickr8k_captions(write(folder, f'image,caption\na.jpg,"{quoted}"\n')) == {"a.jpg": [caption]}


@given(caption=CAPTION.filter(lambda caption: '"' not in caption))
def test_any_caption_without_quotation_marks_survives_unquoted(folder: Path, caption: str) -> None:
    assert load_flickr8k_captions(write(folder, f"a.jpg,{caption}\n")) == {"a.jpg": [caption]}
    assert load_flickr8k_captions(write(folder, f"a.jpg#4\t{caption}\n")) == {"a.jpg": [caption]}


@pytest.mark.parametrize("caption", ['"hello" says the sign', 'a sign says "hello"', 'a 6" nail', '"'])
def test_a_stray_quotation_mark_is_part_of_the_caption(folder: Path, caption: str) -> None:
    assert load_flickr8k_captions(write(folder, f"a.jpg,{caption}\n")) == {"a.jpg": [caption]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,caption\na.jpg,a dog\na line of something else\n", "line 3: no comma"),
        ("a.jpg,a dog\n\na.jpg,\n", "line 3: the caption is empty"),
        ("a.jpg,a dog\n,a cat\n", "line 2: the image is empty"),
        (b"a.jpg,a dog\na.jpg,m\xe8o\n", "line 2: not UTF-8"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, content: str | bytes, message: str) -> None:
    path = write(folder, content)
    with pytest.raises(CaptionsError, match=message) as caught:
        load_flickr8k_captions(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"nothing\.txt: No such file"):
        load_flickr8k_captions(tmp_path / "nothing.txt")
