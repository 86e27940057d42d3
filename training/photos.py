"""Photos with captions: the one form in which every captions file reaches training and evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class PhotoSource(Protocol):
    """Where a photo's file lies; small, frozen and picklable, so that data loading processes may share it."""

    def read(self) -> bytes:
        """Return the file's bytes.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A photo in a file of its own."""

    path: Path

    def read(self) -> bytes:
        """Return the file's bytes; OSError if there is none."""
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class CaptionedPhoto:
    """A photo and all that was said about it."""

    name: str
    """As the captions file calls it; unique in its dataset."""
    captions: tuple[str, ...]
    """At least one."""
    source: PhotoSource
    split: str | None = None
    """train, dev or test, where the file says so; Karpathy's "val" is dev, his "restval" train."""
