"""Captions in parquet, as Hugging Face datasets writes it, with the pictures in it or beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.captions_files import clean_captions, clean_name, clean_split, gather_photos, source_below
from training.errors import CaptionsError
from training.photos import CaptionedPhoto, PhotoSource

NAMES = ("path", "file_name")
CAPTIONS = ("captions", "caption")
PEEKED_ROWS = 4

# What pyarrow raises on damaged files; ValueError is for strings that are not UTF-8.
_PARQUET_FAULTS = (pa.ArrowException, OSError, ValueError)
_one_reader = Lock()


@dataclass(frozen=True, slots=True)
class ParquetCell:
    """A picture within a parquet file.

    Parquet is read by the row group: photos read in their order cost each group once, in any other order up
    to a group a photo. Two groups of pictures stay in memory.
    """

    path: Path
    column: str
    """image, or image.bytes."""
    row_group: int
    row: int
    """Within its row group."""

    def read(self) -> bytes:
        """Return the picture's bytes; OSError if the file is gone or damaged, or the cell is empty."""
        written = self.path.stat()
        try:
            with _one_reader:  # else every thread that waits for a group would read it, too
                pictures = _read_pictures(
                    self.path, self.column, self.row_group, (written.st_mtime_ns, written.st_size)
                )
            picture = pictures[self.row].as_py()
        except (pa.ArrowException, ValueError, LookupError) as error:
            raise OSError(f"{self.path}, row group {self.row_group}: {error}") from error
        if isinstance(picture, dict):
            picture = picture["bytes"]
        if not isinstance(picture, bytes):
            raise OSError(f"{self.path}, row group {self.row_group}, row {self.row}: holds no picture")
        return picture


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a file keeps what we need, in pyarrow's notation for columns."""

    pictures: str | None
    """image, or image.bytes; None: they lie beside the file."""
    names: tuple[str, ...]
    """The first that is filled names the photo."""
    captions: str
    split: str | None


def load_parquet(path: Path, images: Path | None = None) -> list[CaptionedPhoto]:
    """Return the photos of a parquet file, or of all below a folder; the pictures are left unread.

    Columns: "image", binary or a struct of "bytes" and "path", or else "path" or "file_name"; "captions" or
    "caption", a string or a list of them; "split", if there is one. A photo is named by its path; without
    one, by the file and its row. Of rows with one name the pictures are read, to see that they are the same.

    Args:
        path: the file or the folder.
        images: the folder that paths start from; needed where the pictures are not in the file.

    Raises:
        CaptionsError: a file cannot be read, lacks a column, or a row (named, counted from 0) is malformed.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise CaptionsError(f"{path}: no parquet files")
    return gather_photos(found for file in files for found in _photos(file, images))


def _photos(file: Path, images: Path | None) -> Iterator[tuple[str, CaptionedPhoto]]:
    try:
        with pq.ParquetFile(file) as parquet:
            columns = _choose_columns(parquet.schema_arrow, file)
            wanted = [*columns.names, columns.captions, *([columns.split] if columns.split else [])]
            first = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, columns=wanted, use_threads=False).to_pylist()
                held = columns.pictures
                if held is not None and not _holds_pictures(parquet, group, held):
                    held = None
                for number, row in enumerate(rows):
                    where = f"{file}, row {first + number}"
                    cell = None if held is None else ParquetCell(file, held, group, number)
                    yield where, _photo(row, columns, cell, images, f"{file.name}#{first + number}", where)
                first += len(rows)
    except _PARQUET_FAULTS as error:
        raise CaptionsError(f"{file}: no parquet file, or damaged: {error}") from error


def _choose_columns(schema: Any, file: Path) -> _Columns:
    captions = next((name for name in CAPTIONS if name in schema.names), None)
    if captions is None:
        raise CaptionsError(f'{file}: no column "caption" or "captions"; it has {", ".join(schema.names)}')
    names = [name for name in NAMES if name in schema.names]
    pictures = None
    if "image" in schema.names:
        kind = schema.field("image").type
        inside = [field.name for field in kind.fields] if pa.types.is_struct(kind) else []
        if "bytes" in inside:
            pictures = "image.bytes"
        elif _is_binary(kind):
            pictures = "image"
        elif "path" not in inside:
            raise CaptionsError(
                f'{file}: "image" is {kind}; it must be binary, or a struct of bytes and path'
            )
        if "path" in inside:
            names.insert(0, "image.path")
    if pictures is None and not names:
        raise CaptionsError(
            f'{file}: no column "image", "path" or "file_name"; it has {", ".join(schema.names)}'
        )
    return _Columns(pictures, tuple(names), captions, "split" if "split" in schema.names else None)


def _is_binary(kind: Any) -> bool:
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _holds_pictures(parquet: Any, group: int, column: str) -> bool:
    """Return whether a row group holds pictures: Hugging Face's image.bytes is all null beside files.

    Not from the group's statistics: pyarrow 26 ends the process where those are damaged.
    """
    for batch in parquet.iter_batches(PEEKED_ROWS, row_groups=[group], columns=[column], use_threads=False):
        pictures = batch.column(0).flatten()[0] if "." in column else batch.column(0)
        if pictures.null_count < len(pictures):
            return True
    return False


def _photo(
    row: dict[str, Any],
    columns: _Columns,
    cell: ParquetCell | None,
    images: Path | None,
    otherwise: str,
    where: str,
) -> CaptionedPhoto:
    name = next((name for column in columns.names if (name := _value(row, column))), None)
    if name is None and cell is None:
        raise CaptionsError(f"{where}: no picture, and no path to one")
    name = clean_name(str(name or otherwise), where)
    source: PhotoSource = cell or source_below(images, name, where)
    captions = clean_captions(row[columns.captions], f"{where}, {columns.captions}")
    split = None if columns.split is None else clean_split(row[columns.split], f"{where}, split")
    return CaptionedPhoto(name, captions, source, split)


def _value(row: dict[str, Any], column: str) -> object:
    value: Any = row
    for part in column.split("."):
        value = None if value is None else value[part]
    return value


@lru_cache(maxsize=2)
def _read_pictures(path: Path, column: str, row_group: int, written: tuple[int, int]) -> Any:
    """Return a row group's pictures; written, the file's time and size, keeps a rewritten file apart."""
    with pq.ParquetFile(path) as parquet:
        return parquet.read_row_group(row_group, columns=[column], use_threads=False).column(0)
