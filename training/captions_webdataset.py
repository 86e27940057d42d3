"""Captions in webdataset's shards: tar files in which a photo's picture and captions lie side by side."""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webdataset.shardlists import expand_urls
from webdataset.tariterators import group_by_keys

from training.captions_files import clean_captions, clean_name, clean_split, gather_photos
from training.errors import CaptionsError
from training.photos import CaptionedPhoto

PICTURES = ("jpg", "jpeg", "png", "webp")
META = re.compile(r"__[^/]*__(?:$|/)")  # what webdataset itself passes over

# What tarfile raises on damaged headers.
_TAR_FAULTS = (tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file within a tar file."""

    path: Path
    """The tar file."""
    offset: int
    """Where the member's bytes begin."""
    size: int

    def read(self) -> bytes:
        """Return the member's bytes; OSError if the tar file is gone or cut short."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.path}: cut short")
        return content


def load_webdataset(shards: Path) -> list[CaptionedPhoto]:
    """Return the photos of tar files, each named as its picture is there; the pictures are left unread.

    A sample is what lies side by side under one name up to its first dot: a .jpg, .png or .webp, and its
    captions in a .txt, one a line, or else in a .json, as "captions" or "caption". "split" there counts, too.

    Args:
        shards: a tar file; a folder of them; or a pattern, with * or webdataset's own {000..010}. Unlike in
            webdataset it is never a URL or a command: only files are opened.

    Raises:
        CaptionsError: there are none, or one is damaged or compressed; or a sample (named) lacks its picture
            or its captions, or one name stands for two pictures.
    """
    return gather_photos(found for shard in _find_shards(shards) for found in _photos(shard))


def read_samples(shards: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the name of each sample, and its files' bytes by their endings; shards as in load_webdataset.

    Raises:
        CaptionsError: there are none, or one is damaged or compressed.
    """
    for shard in _find_shards(shards):
        for sample in group_by_keys(_members(shard)):
            files = {kind: place[1].read() for kind, place in sample.items() if not kind.startswith("__")}
            yield sample["__key__"], files


def _find_shards(shards: Path) -> list[Path]:
    if shards.exists():
        return _below(shards)
    try:
        patterns = [Path(each) for each in expand_urls(str(shards))]
    except (ValueError, AssertionError) as error:  # braces without a partner; ${a variable} that is not set
        raise CaptionsError(f"{shards}: no pattern for tar files: {error}") from error
    return [shard for pattern in patterns for path in _matches(pattern) for shard in _below(path)]


def _matches(pattern: Path) -> list[Path]:
    """Return what a pattern, or a plain path, stands for."""
    found = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    if not found:
        raise CaptionsError(f"{pattern}: No such file or directory")
    return found


def _below(path: Path) -> list[Path]:
    shards = sorted(path.rglob("*.tar")) if path.is_dir() else [path]
    if not shards:
        raise CaptionsError(f"{path}: no tar files")
    return shards


def _photos(shard: Path) -> Iterator[tuple[str, CaptionedPhoto]]:
    try:
        for sample in group_by_keys(_members(shard)):
            where = f"{shard}, sample {sample['__key__']!r}"
            yield where, _photo(sample, where)
    except ValueError as error:  # two members of one name
        raise CaptionsError(f"{shard}: {error}") from error


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """Yield each member as group_by_keys wants it, its name and place standing for its data."""
    try:
        with tarfile.open(shard, "r:") as archive, shard.open("rb") as file:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isreg() and not member.issparse() and not META.match(name):
                    clean_name(name, str(shard))
                    place = TarMember(shard, member.offset_data, member.size)
                    yield {"fname": name, "data": (name, place), "__url__": str(shard)}
            # Where tarfile meets what is no header, it stops as it does at the end.
            file.seek(archive.offset)
            if any(file.read(tarfile.BLOCKSIZE)):
                raise CaptionsError(f"{shard}: damaged at byte {archive.offset:,}")
    except _TAR_FAULTS as error:
        raise CaptionsError(f"{shard}: no tar file, or damaged, or compressed: {error}") from error


def _photo(sample: dict[str, Any], where: str) -> CaptionedPhoto:
    pictures = [sample[kind] for kind in PICTURES if kind in sample]
    if len(pictures) != 1:
        raise CaptionsError(
            f"{where}: {'more than one picture' if pictures else 'no picture'};"
            " a sample's members lie side by side (tar --sort=name)"
        )
    name, source = pictures[0]
    described = _described(sample, where)
    if "txt" in sample:
        captions: object = [line for line in _text(sample["txt"], where).split("\n") if line.strip()]
    else:
        captions = described.get("captions", described.get("caption"))
    return CaptionedPhoto(
        name, clean_captions(captions, where), source, clean_split(described.get("split"), where)
    )


def _described(sample: dict[str, Any], where: str) -> dict[str, Any]:
    if "json" not in sample:
        return {}
    try:
        described = json.loads(_text(sample["json"], where))
    except (ValueError, RecursionError) as error:
        raise CaptionsError(f"{where}: its .json is none: {error}") from error
    if not isinstance(described, dict):
        raise CaptionsError(f"{where}: its .json is no object")
    return described


def _text(member: tuple[str, TarMember], where: str) -> str:
    name, place = member
    try:
        return place.read().decode("utf-8-sig")
    except OSError as error:
        raise CaptionsError(f"{where}: {error}") from error
    except UnicodeDecodeError as error:
        raise CaptionsError(f"{where}: {name} is not UTF-8") from error
