import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_captions import CAPTION
from training.captions import load_captioned_photos, load_flickr30k_captions
from training.errors import CaptionsError
from training.photos import CaptionedPhoto, FileSource

IMAGES = Path("photos")
FLICKR30K = "a.jpg| 0| a dog\nb.jpg| 0| a cat, asleep\na.jpg| 1| a brown dog\n"
NEWLINES = st.sampled_from(["\n", "\r\n", "\n\n"])


def photo(name: str, *captions: str) -> CaptionedPhoto:
    return CaptionedPhoto(name, captions, FileSource(IMAGES / name))


def write(folder: Path, content: str | bytes, name: str = "captions.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captions")


@pytest.mark.parametrize(
    "content",
    [
        "image,caption\na.jpg,a dog\nb.jpg,a cat, asleep\na.jpg,a brown dog\n",
        "a.jpg#0\ta dog\nb.jpg#0\ta cat, asleep\na.jpg#1\ta brown dog\n",
        f"image_name| comment_number| comment\n{FLICKR30K}",
        FLICKR30K.replace("\n", "\r\n\r\n"),
        f"\ufeffimage_name|caption_number|caption\n{FLICKR30K}".replace("| ", "|"),
    ],
    ids=["flickr8k", "flickr8k numbered", "flickr30k", "flickr30k, no header, crlf", "flickr30k, bom"],
)
def test_the_form_of_a_text_is_found_and_captions_of_one_photo_are_gathered(
    folder: Path, content: str
) -> None:
    photos = load_captioned_photos(write(folder, content), IMAGES)
    assert photos == [photo("a.jpg", "a dog", "a brown dog"), photo("b.jpg", "a cat, asleep")]


@settings(deadline=None)
@given(captions=st.lists(CAPTION, min_size=1), newline=NEWLINES, bom=st.sampled_from(["", "\ufeff"]))
def test_any_captions_survive_flickr30k_quoted(
    folder: Path, captions: list[str], newline: str, bom: str
) -> None:
    rows = [f"a.jpg| {number}| {csv_field(caption)}" for number, caption in enumerate(captions)]
    path = write(folder, bom + newline.join(["image_name| comment_number| comment", *rows]))
    assert load_captioned_photos(path, IMAGES) == [photo("a.jpg", *captions)]


@settings(deadline=None)
@given(captions=st.lists(CAPTION.filter(lambda caption: '"' not in caption), min_size=1))
def test_any_captions_without_quotation_marks_survive_flickr30k_as_they_are(
    folder: Path, captions: list[str]
) -> None:
    path = write(folder, "\n".join(f"a.jpg| 0|{caption}" for caption in captions))
    assert load_flickr30k_captions(path, IMAGES) == [photo("a.jpg", *captions)]


@settings(deadline=None)
@given(captions=st.lists(CAPTION, min_size=1), newline=NEWLINES, bom=st.sampled_from(["", "\ufeff"]))
def test_any_captions_survive_flickr8k_quoted(
    folder: Path, captions: list[str], newline: str, bom: str
) -> None:
    rows = [f"a.jpg,{csv_field(caption)}" for caption in captions]
    path = write(folder, bom + newline.join(["image,caption", *rows]))
    assert load_captioned_photos(path, IMAGES) == [photo("a.jpg", *captions)]


@pytest.mark.parametrize("character", [",", '"', "|", "\u2028", "\u0085", "\x0b", "đ", "é", "🐕"])
def test_no_character_of_a_caption_is_taken_for_a_separator(folder: Path, character: str) -> None:
    caption = f"a dog {character} a cat"
    for line in (f"a.jpg,{caption}", f"a.jpg#0\t{caption}", f"a.jpg| 0| {caption}"):
        assert load_captioned_photos(write(folder, line), IMAGES) == [photo("a.jpg", caption)]


@pytest.mark.parametrize("row", ["2199200615.jpg| 4   A dog runs .", "a.jpg| 4 A dog | runs", "a.jpg"])
def test_a_row_without_a_separator_is_named_as_flickr30k_has_one(folder: Path, row: str) -> None:
    path = write(folder, f"image_name| comment_number| comment\na.jpg| 0| a dog\n{row}\nb.jpg| 0| a cat\n")
    with pytest.raises(CaptionsError, match="line 3: no pipes") as caught:
        load_captioned_photos(path, IMAGES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("row", ["a.jpg| 1|", "a.jpg| 1| ", "| 1| a dog", " | 1| a dog", 'a.jpg| 1| ""'])
def test_an_empty_field_is_named(folder: Path, row: str) -> None:
    path = write(folder, f"a.jpg| 0| a dog\n{row}\n")
    with pytest.raises(CaptionsError, match=r"line 2: (the (caption|image) is empty|no pipes)"):
        load_captioned_photos(path, IMAGES)


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/a.jpg", "b/../../a.jpg", "..", "..\\a.jpg", "C:\\a.jpg", "\\\\host\\a.jpg"]
)
@pytest.mark.parametrize("row", ["{},a dog", "{}| 0| a dog"])
def test_no_name_leads_out_of_the_folder_of_photos(folder: Path, name: str, row: str) -> None:
    path = write(folder, f"{row.format('a.jpg')}\n{row.format(name)}\n")
    with pytest.raises(CaptionsError, match=r"line 2: .* leads out of the folder"):
        load_captioned_photos(path, IMAGES)


@pytest.mark.parametrize("name", ["b/a.jpg", "a..b.jpg", "...jpg", "ảnh.jpg", "a b.jpg"])
def test_a_name_may_be_a_path_below_the_folder(folder: Path, name: str) -> None:
    assert load_captioned_photos(write(folder, f"{name},a dog"), IMAGES) == [photo(name, "a dog")]


@pytest.mark.parametrize("name", ["captions [1].txt", "captions*.txt", "{0..1}.csv"])
def test_a_file_that_is_there_is_no_pattern(tmp_path: Path, name: str) -> None:
    assert load_captioned_photos(write(tmp_path, "a.jpg,a dog", name), IMAGES) == [photo("a.jpg", "a dog")]


def test_only_the_first_line_may_be_a_header(folder: Path) -> None:
    path = write(folder, "image,caption\na.jpg,a dog\nimage,a cat\n")
    assert load_captioned_photos(path, IMAGES) == [photo("a.jpg", "a dog"), photo("image", "a cat")]


def test_a_name_that_no_file_can_have_is_named(folder: Path) -> None:
    with pytest.raises(CaptionsError, match="line 1: no name for a photo"):
        load_captioned_photos(write(folder, "a\0.jpg,a dog"), IMAGES)


def test_a_missing_photo_is_no_error_here(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jpg,a dog")
    (found,) = load_captioned_photos(path, tmp_path / "nowhere")
    assert found.source == FileSource(tmp_path / "nowhere" / "a.jpg")
    with pytest.raises(FileNotFoundError):
        found.source.read()


@pytest.mark.parametrize("name", ["captions.txt", "captions.json"])
def test_names_without_their_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CaptionsError, match="say in which folder"):
        load_captioned_photos(write(tmp_path, "a.jpg,a dog", name))


@pytest.mark.parametrize("content", ["", "\n\n", "image,caption\n", "image_name| comment_number| comment\n"])
def test_a_file_without_captions_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(CaptionsError, match="holds no captions"):
        load_captioned_photos(write(tmp_path, content), IMAGES)


@pytest.mark.parametrize("content", ['{"file_name": "a.jpg", "text": "a dog"}', "[\n", "{", '[{"a": 1}, 2]'])
def test_json_under_another_name_is_not_read_as_lines_with_commas(tmp_path: Path, content: str) -> None:
    with pytest.raises(CaptionsError, match="looks like JSON"):
        load_captioned_photos(write(tmp_path, content, "captions.jsonl"), IMAGES)


def test_a_folder_must_hold_shards_of_one_form(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"no \.tar and no \.parquet"):
        load_captioned_photos(tmp_path)
    for name in ("a.tar", "a.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(CaptionsError, match=r"both \.tar and \.parquet"):
        load_captioned_photos(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["no.txt", "no.json", "no.tar", "no.parquet", "no-*.tar", "no-{0..2}.tar", "no-*", "nowhere/*/no.tar"],
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CaptionsError, match=re.escape(str(tmp_path)) + ".*: .*No such file"):
        load_captioned_photos(tmp_path / name, IMAGES)
