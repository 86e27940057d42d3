"""The encoders side by side: JPEG files to unit vectors, and one text to one, each as its users would.

All read the same checkpoint. Each gets the batch and the way of loading that its own documentation shows.
"""

import json
import os
import pickle
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from app.reading import read_picture
from embedding.encoder import load_encoder
from embedding.pixel_budget import MAX_PIXELS
from embedding.preprocessing import Preprocessing, preprocess

BATCH = 16
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class EncodingPeer:
    """A way to encode, ready to be asked."""

    pictures: Callable[[Sequence[Path]], tuple[Vectors, float]]
    """Files to float32 (n, dimension), unit rows, and the seconds that it took."""
    text: Callable[[str], Vectors] | None
    """One text to (1, dimension); None where there is no way to encode a single one."""


def this_service(model: str, engine: str, precision: str = "auto") -> EncodingPeer:
    """This project's encoder; files are read as indexing reads them."""
    encoder = load_encoder(model, engine=engine, precision=precision)
    enough_px = Preprocessing.from_processor(encoder.preprocessing()).enough_px

    def read(path: Path) -> Image.Image:
        image, _ = read_picture(
            path.read_bytes(), collection="", uri=path.name, max_pixels=MAX_PIXELS, enough_px=enough_px
        )
        return image

    def pictures(paths: Sequence[Path]) -> Vectors:
        with ThreadPoolExecutor(4) as readers:
            ahead = readers.map(read, paths)
            return np.concatenate(
                [encoder.encode_images([next(ahead) for _ in batch]) for batch in _batches(paths, 4 * BATCH)]
            )

    return EncodingPeer(_timed(pictures), lambda text: encoder.encode_texts([text]))


def reports_loop(model: str) -> EncodingPeer:
    """One picture at a time in float32 by transformers, into a dict that is pickled."""
    processor = AutoImageProcessor.from_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    clip = AutoModel.from_pretrained(model, dtype=torch.float32).eval()
    context = clip.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def pictures(paths: Sequence[Path]) -> Vectors:
        embeddings: dict[str, Vectors] = {}
        for path in paths:
            inputs = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")
            embeddings[str(path)] = _unit(clip.get_image_features(**inputs).pooler_output.numpy())[0]
        with tempfile.TemporaryFile() as file:
            pickle.dump(embeddings, file)
        return np.stack(list(embeddings.values()))

    @torch.inference_mode()
    def text(words: str) -> Vectors:
        inputs = tokenizer(
            words, padding="max_length", max_length=context, truncation=True, return_tensors="pt"
        )
        return _unit(clip.get_text_features(**inputs).pooler_output.numpy())

    return EncodingPeer(_timed(pictures), text)


def sentence_transformers(model: str) -> EncodingPeer:
    """Its CLIP module, as its documentation loads it; batches of 16."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import CLIPModel

    clip = SentenceTransformer(modules=[CLIPModel(model)], device="cpu")

    def encode(inputs: list[Any]) -> Vectors:
        rows = clip.encode(inputs, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows)

    return EncodingPeer(
        _timed(lambda paths: encode([Image.open(path).convert("RGB") for path in paths])),
        lambda text: encode([text]),
    )


def onnx_runtime(model: str) -> EncodingPeer:
    """Both towers exported to ONNX, batches of 16; preprocessing is this project's, in four threads."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    clip = AutoModel.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    grid = Preprocessing.from_processor(AutoImageProcessor.from_pretrained(model).to_dict())
    pixels = {"pixel_values": torch.zeros(2, 3, *grid.size_px)}
    tokens = dict(tokenizer(["a photo", "a photo a photo"], padding=True, return_tensors="pt"))
    images, texts = (
        _onnx_session(clip, features, inputs)
        for features, inputs in (("get_image_features", pixels), ("get_text_features", tokens))
    )

    def read(path: Path) -> Vectors:
        return preprocess([Image.open(path).convert("RGB")], grid)

    def pictures(paths: Sequence[Path]) -> Vectors:
        with ThreadPoolExecutor(4) as readers:
            ahead = readers.map(read, paths)
            rows = [
                images({"pixel_values": np.concatenate([next(ahead) for _ in batch])})
                for batch in _batches(paths, BATCH)
            ]
        return _unit(np.concatenate(rows))

    return EncodingPeer(
        _timed(pictures), lambda text: _unit(texts(dict(tokenizer([text], return_tensors="np"))))
    )


def clip_retrieval(model: str, program: str) -> EncodingPeer:
    """`clip-retrieval inference`, installed in an environment of its own; its time without loading the model.

    It has no call for a single text: its server encodes one in the same way as its mapper, by PyTorch.
    """

    def pictures(paths: Sequence[Path]) -> tuple[Vectors, float]:
        import pyarrow.parquet as parquet

        with tempfile.TemporaryDirectory() as folder:
            chosen, out = Path(folder, "chosen"), Path(folder, "out")
            chosen.mkdir()
            for path in paths:
                (chosen / path.name).symlink_to(path)
            command = [
                program, "inference", f"--input_dataset={chosen}", f"--output_folder={out}",
                f"--clip_model=hf_clip:{model}", "--enable_text=False", "--num_prepro_workers=4",
                f"--batch_size={BATCH}", "--use_jit=False",
            ]  # fmt: skip
            subprocess.run(
                command, check=True, capture_output=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
            )
            told = json.loads((out / "stats" / "0.json").read_text())
            names = parquet.read_table(out / "metadata" / "metadata_0.parquet")["image_path"].to_pylist()
            rows = np.load(out / "img_emb" / "img_emb_0.npy").astype(np.float32)
        place = {Path(name).name: at for at, name in enumerate(names)}
        seconds = told["read_duration"] + told["inference_duration"] + told["write_duration"]
        return _unit(rows[[place[path.name] for path in paths]]), seconds

    return EncodingPeer(pictures, None)


def _onnx_session(clip: Any, features: str, inputs: dict[str, torch.Tensor]) -> Callable[[Any], Vectors]:
    """Export one tower, and return it as a function of a dict of arrays."""
    import onnxruntime

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = clip

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            output = getattr(self.clip, features)(**dict(zip(inputs, tensors, strict=True)))
            rows: torch.Tensor = output.pooler_output
            return rows

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tower.onnx")
        axes = {
            name: dict(enumerate(["rows", "tokens"][: 4 - tensor.ndim + 1]))
            for name, tensor in inputs.items()
        }
        torch.onnx.export(
            Tower(), tuple(inputs.values()), path, input_names=list(inputs), dynamic_axes=axes, dynamo=False
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}

    def run(arrays: dict[str, Vectors]) -> Vectors:
        rows: Vectors = session.run(None, {name: array for name, array in arrays.items() if name in taken})[0]
        return rows

    return run


def _timed(encode: Callable[[Sequence[Path]], Vectors]) -> Callable[[Sequence[Path]], tuple[Vectors, float]]:
    def pictures(paths: Sequence[Path]) -> tuple[Vectors, float]:
        started = time.perf_counter()
        return encode(paths), time.perf_counter() - started

    return pictures


def _batches(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [paths[at : at + size] for at in range(0, len(paths), size)]


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
