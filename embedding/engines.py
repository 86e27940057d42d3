"""Which engine computes a checkpoint: the one that was asked for, or the faster of those that can.

Vectors of all engines may stand in one gallery: docs/decisions/0007-engines-share-an-encoder.md.
"""

import logging
from importlib.util import find_spec
from pathlib import Path

from embedding.engine import Engine
from embedding.errors import EncoderUnavailableError
from embedding.torch_engine import TorchEngine
from embedding.transformers_loading import Readers, choose_device, load_dual_encoder

ENGINES = ("auto", "torch", "openvino")

logger = logging.getLogger(__name__)


def open_engine(
    directory: Path,
    readers: Readers,
    *,
    name: str,
    fingerprint: str,
    device: str,
    precision: str,
    cores: int,
    cache_dir: Path | None,
) -> Engine:
    """Open a checkpoint's two towers; embedding.encoder.load_encoder describes the arguments.

    Raises:
        EncoderUnavailableError: the checkpoint is damaged, or the engine, device or precision is not there.
    """
    if name not in ENGINES:
        raise EncoderUnavailableError(f"there is no engine {name!r}; choose {', '.join(ENGINES)}")
    on_processor = choose_device(device).type == "cpu"
    installed = find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise EncoderUnavailableError(
            "the engine openvino is not installed; pip install 'image-retrieval[openvino]', or choose torch"
        )
    if name == "openvino" and not on_processor:
        raise EncoderUnavailableError(
            f"the engine openvino computes on processors, not on {device}; choose the device cpu, or torch"
        )
    if name == "openvino" or (name == "auto" and on_processor and installed and cache_dir):
        from embedding.openvino_engine import open_openvino

        try:
            return open_openvino(
                directory, readers, fingerprint, precision=precision, cores=cores, cache_dir=cache_dir
            )
        except EncoderUnavailableError as error:
            if name == "openvino":
                raise
            logger.info("PyTorch computes: %s", error)
    return TorchEngine(load_dual_encoder(directory, readers, device=device, precision=precision), cores=cores)
