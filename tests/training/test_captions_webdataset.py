import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_captions import CAPTION
from training.captions import load_captioned_photos
from training.captions_webdataset import TarMember, load_webdataset
from training.errors import CaptionsError

Members = list[tuple[str, bytes]]


def write(path: Path, members: Members, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sample(key: str, kind: str = "jpg") -> Members:
    return [(f"{key}.{kind}", f"picture {key}".encode()), (f"{key}.txt", f"caption {key}\n".encode())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


def test_samples_are_read_with_their_captions_and_pictures_only_when_asked(tmp_path: Path) -> None:
    described = json.dumps({"captions": ["a ball", "a red ball"], "split": "val", "width": 3}).encode()
    shard = write(
        tmp_path / "s.tar",
        [
            ("./000.jpg", b"first"),
            ("./000.txt", b"\xef\xbb\xbfa dog\r\n\n a cat, asleep\n"),
            ("sub/001.PNG", b"second"),
            ("sub/001.json", described),
            ("002.cls", b"7"),
            ("002.seg.png", b"no picture of the sample's"),
            ("002.webp", b"third"),
            ("002.json", b'{"caption": "a tree"}'),
            ("__meta__/info.txt", b"passed over, as webdataset does"),
        ],
    )
    photos = load_captioned_photos(shard)
    assert [(photo.name, photo.captions, photo.split) for photo in photos] == [
        ("000.jpg", ("a dog", "a cat, asleep"), None),
        ("sub/001.PNG", ("a ball", "a red ball"), "dev"),
        ("002.webp", ("a tree",), None),
    ]
    assert [pickle.loads(pickle.dumps(photo.source)).read() for photo in photos] == [
        b"first",
        b"second",
        b"third",
    ]


def test_beside_a_txt_a_json_tells_no_captions_but_a_split(tmp_path: Path) -> None:
    shard = write(
        tmp_path / "s.tar", [*sample("0"), ("0.json", b'{"caption": "caption 0", "split": "test"}')]
    )
    (photo,) = load_webdataset(shard)
    assert (photo.captions, photo.split) == (("caption 0",), "test")


@settings(deadline=None)
@given(captions=st.lists(CAPTION, min_size=1), newline=st.sampled_from(["\n", "\r\n"]))
def test_any_captions_survive_in_txt_and_json(folder: Path, captions: list[str], newline: str) -> None:
    shard = write(
        folder / "s.tar",
        [
            ("0.jpg", b"0"),
            ("0.txt", newline.join(captions).encode()),
            ("1.jpg", b"1"),
            ("1.json", json.dumps({"captions": captions}).encode()),
        ],
    )
    assert [photo.captions for photo in load_webdataset(shard)] == [tuple(captions)] * 2


@pytest.mark.parametrize(
    "pattern", ["", "s-{0..2}.tar", "s-*.tar", "{s-0,s-1,s-2}.tar", "s-[0-2].tar", "../shards/s-?.tar", "s-*"]
)
def test_shards_come_as_a_folder_or_a_pattern(
    tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = tmp_path / "shards"
    for number in range(3):
        write(shards / f"s-{number}.tar", sample(str(number)))
    names = ["0.jpg", "1.jpg", "2.jpg"]
    assert [photo.name for photo in load_captioned_photos(shards / pattern)] == names
    monkeypatch.chdir(shards)
    assert [photo.name for photo in load_captioned_photos(Path(pattern))] == names


def test_a_shard_that_a_pattern_promises_is_missed(tmp_path: Path) -> None:
    write(tmp_path / "s-0.tar", sample("0"))
    with pytest.raises(CaptionsError, match=r"s-1\.tar: No such file"):
        load_webdataset(tmp_path / "s-{0..1}.tar")


@pytest.mark.parametrize("pattern", ["s-{0.tar", "${NOT_SET}/*.tar"])
def test_a_pattern_that_is_none_is_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(CaptionsError, match=r"no pattern|No such file"):
        load_webdataset(tmp_path / pattern)


def test_a_command_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("pipe:touch ran.tar", "pipe:touch ran*.tar", "pipe:touch {ran,again}.tar"):
        with pytest.raises(CaptionsError, match="No such file"):
            load_captioned_photos(Path(command))
    assert not list(tmp_path.iterdir())


def test_one_name_in_two_shards_is_one_picture_or_an_error(tmp_path: Path) -> None:
    write(tmp_path / "s-0.tar", sample("0"))
    write(tmp_path / "s-1.tar", [("0.jpg", b"picture 0"), ("0.txt", b"again")])
    (photo,) = load_webdataset(tmp_path)
    assert photo.captions == ("caption 0", "again")
    write(tmp_path / "s-2.tar", [("0.jpg", b"another"), ("0.txt", b"another")])
    with pytest.raises(CaptionsError, match=r"s-2\.tar, sample '0': '0\.jpg' was another picture"):
        load_webdataset(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.jpg", b"p")], "sample '1': no caption"),
        ([("1.jpg", b"p"), ("1.txt", b" \n")], "sample '1': no caption"),
        ([("1.jpg", b"p"), ("1.json", b'{"text": "a"}')], "sample '1': no caption"),
        (
            [("1.jpg", b"p"), ("1.json", b'{"captions": ["a", 5]}')],
            r"sample '1'\[1\]: the caption is no text",
        ),
        ([("1.jpg", b"p"), ("1.json", b'{"captions": {}}')], "sample '1': no caption"),
        ([("1.jpg", b"p"), ("1.json", b"{")], "sample '1': its .json is none"),
        ([("1.jpg", b"p"), ("1.json", b"[]")], "sample '1': its .json is no object"),
        ([("1.jpg", b"p"), ("1.json", b"[" * 100_000)], "sample '1': its .json is none"),
        ([("1.jpg", b"p"), ("1.txt", b"m\xe8o")], "sample '1': 1.txt is not UTF-8"),
        ([("1.jpg", b"p"), ("1.png", b"p"), ("1.txt", b"a")], "sample '1': more than one picture"),
        ([("1.txt", b"a")], "sample '1': no picture"),
        ([("1.jpg", b"p"), ("2.jpg", b"p"), ("1.txt", b"a"), ("2.txt", b"a")], "side by side|no caption"),
        ([("1.jpg", b"p"), ("1.JPG", b"p"), ("1.txt", b"a")], "duplicate file name"),
        ([("1.jpg", b"p"), ("1.txt", b"a"), ("1.json", b'{"split": 3}')], "sample '1': no split"),
    ],
)
def test_a_malformed_sample_is_named(tmp_path: Path, members: Members, message: str) -> None:
    shard = write(tmp_path / "s.tar", [*sample("0"), *members])
    with pytest.raises(CaptionsError, match=message) as caught:
        load_webdataset(shard)
    assert str(shard) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no tar file", bytes(5000)[:300], b"x" * 2000])
def test_what_is_no_tar_file_is_named(tmp_path: Path, content: bytes) -> None:
    shard = tmp_path / "s.tar"
    shard.write_bytes(content)
    with pytest.raises(CaptionsError, match=r"s\.tar: no tar file"):
        load_webdataset(shard)


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match="compressed"):
        load_webdataset(write(tmp_path / "s.tar", sample("0"), "w:gz"))


def test_a_shard_damaged_in_its_middle_loses_no_photo_in_silence(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.tar", [*sample("0"), *sample("1")])
    content = bytearray(shard.read_bytes())
    content[2048:2560] = b"x" * 512  # the header of 1.jpg: two members of a header and a block each before it
    shard.write_bytes(content)
    with pytest.raises(CaptionsError, match="damaged at byte 2,048"):
        load_webdataset(shard)


@settings(deadline=None)
@given(place=st.integers(0, 4095), byte=st.integers(0, 255), end=st.integers(1, 4096))
def test_damage_is_a_captions_error_or_harmless(folder: Path, place: int, byte: int, end: int) -> None:
    shard = write(folder / "damaged.tar", [*sample("0"), *sample("1")])
    content = bytearray(shard.read_bytes())
    content[place] = byte
    shard.write_bytes(content[:end])
    try:
        photos = load_webdataset(shard)
    except CaptionsError:
        return
    assert all(photo.captions for photo in photos)


def test_a_member_cut_short_is_an_oserror(tmp_path: Path) -> None:
    (photo,) = load_webdataset(write(tmp_path / "s.tar", sample("0")))
    assert isinstance(photo.source, TarMember)
    photo.source.path.write_bytes(b"short")
    with pytest.raises(OSError, match="cut short"):
        photo.source.read()
