"""Pictures of the gallery as one zip, made while it is sent: no file is ever in memory whole, nor on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from zipstream import ZipStream

from app.errors import GalleryFileMissingError
from app.uploads import picture_path
from db.gallery import ImageRow

CHUNK_BYTES = 262_144
MISSING = "missing.txt"


def zip_chunks(
    pictures: Sequence[tuple[ImageRow, str | None]], unknown: Sequence[str], upload_dir: Path
) -> Iterator[bytes]:
    """Yield a zip of the pictures' files, as they are; pictures are compressed already, so it is not.

    What is not there is named in missing.txt.

    Args:
        pictures: each with its collection's root.
        unknown: ids of no picture, to be named as well.
        upload_dir: where uploads are.
    """
    archive = ZipStream()
    missing = [f"{image_id}: no picture of the gallery" for image_id in unknown]
    names = unique_names([image.uri for image, _ in pictures])
    for (image, root), name in zip(pictures, names, strict=True):
        try:
            path = picture_path(image, root, upload_dir)
            with path.open("rb") as file:
                archive.add(iter(lambda: file.read(CHUNK_BYTES), b""), name, size=path.stat().st_size)
                yield from archive.file()
        except (GalleryFileMissingError, OSError):
            missing.append(f"{image.id}: the file of {image.collection}/{image.uri} is gone")
    if missing:
        archive.add("\n".join(missing) + "\n", MISSING)
    yield from archive.finalize()


def unique_names(uris: Sequence[str]) -> list[str]:
    """Return a file name for each uri: its last part, with a number where that name is taken.

    Names that differ only in case are one on many file systems, and so they are here.
    """
    taken = {MISSING}
    names = []
    for uri in uris:
        path = PurePosixPath(uri)
        name, number = path.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem} ({number}){path.suffix}"
        taken.add(name.casefold())
        names.append(name)
    return names
