"""The Encoder protocol: the one seam where the world is expensive, and how to open a checkpoint.

PyTorch is imported by load_encoder alone, so that whoever needs only the protocol does not wait for it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding.checkpoints import (
    SETTINGS,
    WEIGHTS,
    find_checkpoint,
    find_local_checkpoint,
    read_settings,
)
from embedding.errors import EncoderUnavailableError

# Where a checkpoint was saved from, and by which version: no embedding hangs on these.
_VOLATILE_KEYS = {"_name_or_path", "name_or_path", "transformers_version", "is_local", "local_files_only"}
# Every settings file whose words reach the embedding; a folder's other JSON (scores, curves) does not.
_DECIDING = {
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
}


class Encoder(Protocol):
    """A dual encoder: pictures and words to unit vectors in one space."""

    checkpoint: str
    """Where it came from: a hub name or an absolute path."""
    fingerprint: str
    """SHA-256 (hex) over weights, tokenizer and preprocessing: what makes two encoders the same."""
    dimension: int
    device: str

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit rows, for n decoded RGB pictures of any size."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), unit rows; a text longer than the context is cut at its end.

        Raises:
            ValueError: a text is no valid Unicode (a lone surrogate).
        """
        ...

    def is_truncated(self, text: str) -> bool:
        """Say whether encode_texts reads only the beginning of this text."""
        ...

    def preprocessing(self) -> dict[str, object]:
        """Return the preprocessing as plain JSON values, for the encoders table."""
        ...


def load_encoder(
    model: str,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Encoder:
    """Open a checkpoint: any CLIP-like dual encoder that transformers knows, from safetensors alone.

    Args:
        model: a folder, or a hub name such as openai/clip-vit-base-patch32.
        engine: torch; openvino, for processors (extra "openvino"); or auto, which takes OpenVINO on a
            processor where it is installed, can compute the checkpoint, and has a cache_dir.
        device: auto (the GPU if there is one), cpu, cuda, cuda:1, mps.
        precision: auto (bfloat16 where the processor computes in it, else float32), float32, bfloat16, or
            float16 (GPU only).
        threads: processor threads of a forward pass; None takes the processors this process may use.
        cache_dir: where OpenVINO's form of the checkpoint is kept; None converts it each time.

    Raises:
        EncoderUnavailableError: the checkpoint is not there, broken, or of no known kind, or there is no such
            engine, device or precision; the message says what to do.
    """
    directory = find_checkpoint(model)

    from embedding.engine import usable_cores
    from embedding.engines import open_engine
    from embedding.transformers_encoder import TransformersEncoder
    from embedding.transformers_loading import load_readers

    digest = fingerprint(directory)
    cores = threads or usable_cores()
    readers = load_readers(directory)
    opened = open_engine(
        directory,
        readers,
        name=engine,
        fingerprint=digest,
        device=device,
        precision=precision,
        cores=cores,
        cache_dir=cache_dir,
    )
    checkpoint = str(directory) if Path(model).expanduser().is_dir() else model
    return TransformersEncoder(opened, readers, checkpoint=checkpoint, fingerprint=digest, cores=cores)


def fingerprint_of(model: str) -> str:
    """Return the fingerprint that load_encoder would give this model, without loading or downloading it.

    Raises:
        EncoderUnavailableError: the checkpoint is not on this machine, or broken.
    """
    directory = find_local_checkpoint(model)
    if directory is None:
        raise EncoderUnavailableError(f"{model} is neither a folder nor whole in the hub client's cache")
    return fingerprint(directory)


def fingerprint(directory: Path) -> str:
    """Return SHA-256 (hex) over the files that decide an embedding: name and content, in the names' order.

    The folder's place, its README and other frameworks' weights do not count. The keys of *config.json that
    tell only where and by what it was saved do not count either, nor the order of keys. The same weights in
    other shards or another dtype do count as another encoder: rather one too many than one too few.

    Raises:
        EncoderUnavailableError: a settings file is no JSON.
    """
    whole = hashlib.sha256()
    paths = {path for pattern in (*WEIGHTS, *SETTINGS) for path in directory.glob(pattern)}
    for path in sorted(paths, key=lambda each: each.name):
        if path.suffix == ".json" and path.name.endswith("config.json") and path.name in _DECIDING:
            lasting = json.dumps(_without_volatile(read_settings(path)), sort_keys=True)
            digest = hashlib.sha256(lasting.encode()).hexdigest()
        elif path.name in _DECIDING or path.suffix in (".safetensors", ".model"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            continue
        whole.update(f"{path.name}\0{digest}\n".encode())
    return whole.hexdigest()


def _without_volatile(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_volatile(each) for key, each in value.items() if key not in _VOLATILE_KEYS}
    if isinstance(value, list):
        return [_without_volatile(each) for each in value]
    return value
