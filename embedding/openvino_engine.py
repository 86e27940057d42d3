"""OpenVINO as the engine: for processors.

A checkpoint is converted once and the result kept; from then on PyTorch does not read its weights.
"""

import tempfile
from pathlib import Path

import numpy as np
import openvino
import torch
import transformers

from embedding.conversion_cache import kept_or_made
from embedding.engine import CPU_BATCH, Floats, Inputs
from embedding.errors import EncoderUnavailableError
from embedding.openvino_conversion import IMAGE_TOWER, REFUSAL, TEXT_TOWER, convert
from embedding.transformers_loading import Readers, choose_dtype

_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
_VERSIONS = {
    "openvino": openvino.__version__,
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "form": "1",  # of what we write; to be raised with openvino_conversion.py
}


def open_openvino(
    directory: Path, readers: Readers, fingerprint: str, *, precision: str, cores: int, cache_dir: Path | None
) -> "OpenVinoEngine":
    """Compile a checkpoint's towers for this processor; convert them before, if that has not been kept.

    Raises:
        EncoderUnavailableError: the checkpoint cannot be loaded or converted, or what is converted not kept.
    """
    if readers.takes_patches:
        raise EncoderUnavailableError(
            f"{directory} takes pictures as patches of their own shape (NaFlex), which is not done with"
            " OpenVINO; use it with the engine torch"
        )
    dtype = choose_dtype(precision, torch.device("cpu"))
    with tempfile.TemporaryDirectory(prefix="openvino-", ignore_cleanup_errors=True) as temporary:
        folder = (cache_dir or Path(temporary)) / "openvino" / fingerprint
        try:
            kept_or_made(folder, made_by=_VERSIONS, make=lambda into: convert(directory, readers, into))
        except OSError as error:
            raise EncoderUnavailableError(
                f"OpenVINO's form of the encoder cannot be kept in {folder} ({error.strerror}); make room or"
                " let this program write there, or use the engine torch"
            ) from error
        refusal = folder / REFUSAL
        if refusal.exists():
            raise EncoderUnavailableError(
                f"{directory} cannot be used with OpenVINO, which {refusal.read_text('utf-8')}; use it with"
                " the engine torch"
            )
        return OpenVinoEngine(
            folder,
            precision=dtype,
            image_precision=torch.float32 if readers.convolutional else dtype,
            cores=cores,
        )


class OpenVinoEngine:
    """Two towers compiled for this processor; any number of threads may use them.

    OpenVINO computes one request after the other for each tower, in the order they came: a text does not
    wait for a batch of pictures.
    """

    device = "cpu"
    batch_size = CPU_BATCH

    def __init__(
        self, folder: Path, *, precision: torch.dtype, image_precision: torch.dtype, cores: int
    ) -> None:
        """Compile what embedding.openvino_conversion wrote into this folder."""
        core = openvino.Core()
        # Threads that are pinned wait for their own core while another process has it, and several workers
        # would all be pinned to the same ones.
        settings = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False}

        def compiled(name: str, dtype: torch.dtype) -> openvino.CompiledModel:
            return core.compile_model(
                folder / name, "CPU", settings | {"INFERENCE_PRECISION_HINT": _HINTS[dtype]}
            )

        self._images = compiled(IMAGE_TOWER, image_precision)
        self._texts = compiled(TEXT_TOWER, precision)

    def image_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length."""
        return _infer(self._images, inputs)

    def text_features(self, inputs: Inputs) -> Floats:
        """Return float32 (n, dimension), rows of any length."""
        return _infer(self._texts, inputs)


def _infer(tower: openvino.CompiledModel, inputs: Inputs) -> Floats:
    request = tower.create_infer_request()  # one a call: a request belongs to one thread
    return np.array(
        request.infer({name: each.numpy() for name, each in inputs.items()}, share_inputs=True)[0]
    )
