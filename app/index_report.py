"""What became of the files of a run of indexing."""

from dataclasses import dataclass

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be used, and why; the error names the file too."""

    path: str
    error: str


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What became of every file: found = indexed + already_there + those in failed."""

    collection: str
    indexed: int
    """Pictures whose vector is new in the gallery."""
    already_there: int
    """Pictures that the gallery had, under this path or another."""
    moved: int
    """Of those already there: pictures found under a new path, their old file gone."""
    replaced: int
    """Pictures taken out because their file now holds another one."""
    captions_updated: int
    captions_without_picture: list[str]
    """Names in the captions file that no picture found here answers to: no failures, it may tell of more."""
    failed: list[Failure]
    seconds: float
    """From start to end, index included."""
    images_per_second: float
    """Pictures indexed a second, while they were being indexed."""
    index_built: bool

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "collection": self.collection,
            "indexed": self.indexed,
            "already_there": self.already_there,
            "moved": self.moved,
            "replaced": self.replaced,
            "captions_updated": self.captions_updated,
            "captions_without_picture": len(self.captions_without_picture),
            "failed": [{"path": failure.path, "error": failure.error} for failure in self.failed],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "index_built": self.index_built,
        }

    def summary(self) -> str:
        """Return it for people: one line, what is worth a line besides, and every failure."""
        rate = f", {self.images_per_second:,.1f} pictures/s" if self.indexed else ""
        lines = [
            f"{self.collection}: indexed {self.indexed:,}, already there {self.already_there:,},"
            f" failed {len(self.failed):,}; {self.seconds:,.1f} s{rate}"
        ]
        for count, what in (
            (self.moved, "found under a new path"),
            (self.replaced, "replaced, their file having changed"),
            (self.captions_updated, "given new captions"),
        ):
            if count:
                lines.append(f"  {count:,} {what}")
        if missing := len(self.captions_without_picture):
            names = ", ".join(self.captions_without_picture[:SHOWN]) + ", …" * (missing > SHOWN)
            lines.append(f"  the captions name {missing:,} pictures that are not there: {names}")
        lines += [f"failed: {failure.error}" for failure in self.failed]
        return "\n".join(lines)
