"""Mutate picture files and decode them, under libFuzzer: python -m tests.fuzzing.decoding CORPUS -runs=100000

CORPUS is a folder: the seeds go there, one small file of each kind that is read, and what libFuzzer finds
worth keeping. Other arguments are libFuzzer's own; -help=1 lists them. It ends with an error, and leaves the
file in the working folder, if decoding raises anything but an ImageError, gives what is no RGB picture within
the budget, takes more memory than LIMIT_MB in all, or hangs.
"""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import atheris
import numpy as np
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

with atheris.instrument_imports(include=["embedding", "PIL"]):
    from embedding.errors import ImageError
    from embedding.images import decode_image_with_facts, perceptual_hash, thumbnail

MAX_PIXELS = 1_000_000
LIMIT_MB = 500
HANG_S = 30
LONGEST_BYTES = 16_384


def seeds() -> Iterator[bytes]:
    """Yield a small file of each kind."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    scene = Image.fromarray(colours).resize((48, 32), Image.Resampling.BICUBIC)
    alpha = scene.convert("RGBA")
    alpha.putalpha(128)
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif.get_ifd(0x8769)[Base.DateTimeOriginal] = "2024:05:01 12:00:00"
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "x" * 100, zip=True)
    deep = Image.fromarray(np.linspace(0, 65_535, 48 * 32).reshape(32, 48).astype(np.uint16))
    real = Image.fromarray(np.linspace(-1, 1, 48 * 32).reshape(32, 48).astype(np.float32))
    frames = {"save_all": True, "append_images": [scene.rotate(90), scene.rotate(180)]}
    for picture, form, options in (
        (scene, "JPEG", {"exif": exif}),
        (scene, "JPEG", {"progressive": True}),
        (scene.convert("CMYK"), "JPEG", {}),
        (scene, "MPO", frames),
        (scene, "PNG", {"exif": exif, "pnginfo": told}),
        (alpha, "PNG", {}),
        (deep, "PNG", {}),
        (scene.convert("P"), "PNG", {"transparency": 0}),
        (scene.convert("1"), "PNG", {}),
        (scene, "PNG", frames),
        (scene, "WEBP", {"exif": exif}),
        (alpha, "WEBP", {"lossless": True}),
        (scene, "WEBP", frames),
        (scene, "GIF", frames),
        (scene, "BMP", {}),
        (scene.convert("P"), "BMP", {}),
        (scene, "TIFF", {"compression": "tiff_lzw"}),
        (scene, "TIFF", {"compression": "jpeg"}),
        (deep, "TIFF", {}),
        (real, "TIFF", {}),
    ):
        file = BytesIO()
        picture.save(file, form, **options)
        yield file.getvalue()


def decode(data: bytes) -> None:
    """Decode as indexing and questions do; anything but an ImageError is a finding."""
    for enough_px in (None, 16):
        try:
            image, facts = decode_image_with_facts(
                data, name="fuzz", max_pixels=MAX_PIXELS, enough_px=enough_px
            )
        except ImageError:
            continue
        assert image.mode == "RGB"
        assert facts.width * facts.height <= MAX_PIXELS
        perceptual_hash(image)
        thumbnail(image, 32)


def main() -> None:
    """Write the seeds into the corpus, and mutate them until the runs are done; libFuzzer ends all."""
    corpus, *options = sys.argv[1:]
    Path(corpus).mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        assert len(seed) <= LONGEST_BYTES
        (Path(corpus) / f"{number:02}").write_bytes(seed)
        decode(seed)
    limits = (f"-rss_limit_mb={LIMIT_MB}", f"-timeout={HANG_S}", f"-max_len={LONGEST_BYTES}")
    atheris.Setup([sys.argv[0], *limits, *options, corpus], decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
