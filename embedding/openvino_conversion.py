"""A checkpoint's towers from PyTorch to OpenVINO's form: traced, compared with the original, written down.

The front end is called directly: openvino.convert_model reports each conversion to Google Analytics unasked.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from embedding.engine import Inputs
from embedding.preprocessing import Preprocessing
from embedding.transformers_loading import Readers, load_dual_encoder, quiet_transformers

IMAGE_TOWER, TEXT_TOWER = "image.xml", "text.xml"
REFUSAL = "refusal.txt"
_LEAST_COSINE = 0.9999  # of float32 to float32; what a trace froze wrongly is far below


def convert(directory: Path, readers: Readers, folder: Path) -> None:
    """Write both towers of a checkpoint into the folder, in float32; or, as REFUSAL, why it cannot be done.

    Raises:
        EncoderUnavailableError: the checkpoint's weights cannot be loaded, or its preprocessing not done.
    """
    loaded = load_dual_encoder(directory, readers, device="cpu", precision="float32")
    size_px = Preprocessing.from_processor(json.loads(readers.image_processor.to_json_string())).size_px
    noise = torch.Generator().manual_seed(0)
    pictures = [{"pixel_values": torch.randn((n, 3, *size_px), generator=noise)} for n in (2, 1, 3)]
    longest = "red " * readers.tokens.context_length
    words = (["a red circle", "two dogs run over the grass"], ["dog"], [longest, "", "x"])
    texts = [readers.tokens.read(each) for each in words]
    for features, samples, name in (
        ("get_image_features", pictures, IMAGE_TOWER),
        ("get_text_features", texts, TEXT_TOWER),
    ):
        try:
            _convert_tower(_Tower(loaded.model, features, names=list(samples[0])), samples, folder / name)
        except _CannotError as error:
            (folder / REFUSAL).write_text(str(error), "utf-8")
            return


class _CannotError(Exception):
    """OpenVINO cannot compute a tower; the message says what it does instead."""


class _Tower(nn.Module):
    """One tower as a function of tensors alone, which is what a trace takes."""

    def __init__(self, model: Any, features: str, *, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.features = features
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return float32 (n, dimension)."""
        inputs = dict(zip(self.names, tensors, strict=True))
        output = getattr(self.model, self.features)(**inputs)
        rows: Tensor = getattr(output, "pooler_output", output)
        return rows.float()


def _convert_tower(tower: _Tower, samples: Sequence[Inputs], path: Path) -> None:
    """Write a tower that gives what PyTorch gives, for inputs of several sizes."""
    try:
        with warnings.catch_warnings(), quiet_transformers(), torch.inference_mode():
            warnings.simplefilter("ignore")  # traces warn of every shape that they take for a constant
            traced = TorchScriptPythonDecoder(tower, example_input=tuple(samples[0].values()))
        front_end = FrontEndManager().load_by_framework("pytorch")
        model = front_end.convert(front_end.load(traced))  # it shares the weights that traced holds
        for taken, name in zip(model.inputs, tower.names, strict=True):
            taken.get_tensor().set_names({name})
        cosine = _least_cosine(tower, model, samples)
    except MemoryError:
        raise
    except Exception as error:  # both libraries raise anything at what they do not know
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _CannotError(f"cannot convert it: {why}") from error
    if cosine < _LEAST_COSINE:  # where PyTorch gives NaN, so may OpenVINO: the encoder refuses both
        raise _CannotError(f"computes it otherwise: a cosine of {cosine:.4f} to PyTorch")
    openvino.save_model(model, path, compress_to_fp16=False)


def _least_cosine(tower: _Tower, model: Any, samples: Sequence[Inputs]) -> float:
    """Return the worst cosine between the two's rows, NaN if PyTorch gives that."""
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    cosines = []
    for inputs in samples:
        with torch.inference_mode():
            expected = tower(*inputs.values()).numpy()
        (found,) = compiled({name: tensor.numpy() for name, tensor in inputs.items()}).values()
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        cosines.extend((expected * found).sum(axis=1) / lengths)
    return float(np.min(cosines))
