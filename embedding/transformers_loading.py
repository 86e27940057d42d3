"""A checkpoint's folder to a model on its device, in the precision that pays there, and its two readers.

Safetensors alone, from the folder alone: no pickle, no code from the checkpoint, no network.

What pays was measured on four cores with AVX512-BF16. A ViT-B/32 is 2.8 times as fast in bfloat16 as in
float32, at a cosine of 0.9999 to it. A convolutional tower (MobileNetV2) falls to 0.994, so it stays in
float32, in channels_last, which is about twice as fast there as the usual layout.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.utils import logging as transformers_logging

from embedding.errors import EncoderUnavailableError
from embedding.packed_linear import pack_linear_layers
from embedding.tokens import TokenReader

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class Readers:
    """What makes the towers' inputs from words and pictures, and what their structure asks for."""

    tokens: TokenReader
    image_processor: Any
    """transformers' image processor."""
    takes_patches: bool
    """SigLIP 2 NaFlex: the picture comes as patches in its own shape, not as a square."""
    convolutional: bool
    """The image tower has more than the one convolution that cuts patches: bfloat16 is too coarse for it."""


@dataclass(frozen=True)
class DualEncoder:
    """What a folder held, ready for use by PyTorch."""

    model: Any
    """transformers' model, with get_image_features and get_text_features."""
    device: torch.device
    image_dtype: torch.dtype
    """What the image tower takes; float32 if it is convolutional, whatever the texts' precision."""
    image_layout: torch.memory_format
    packed: bool
    """Its bfloat16 layers are packed for this processor."""


def load_dual_encoder(directory: Path, readers: Readers, *, device: str, precision: str) -> DualEncoder:
    """Load the model of a folder that check_checkpoint let pass, and whose readers were loaded.

    Raises:
        EncoderUnavailableError: damaged, not whole, or no such device or precision.
    """
    place = choose_device(device)
    dtype = choose_dtype(precision, place)
    with quiet_transformers():
        model, report = _attempt(
            "model", directory, transformers.AutoModel.from_pretrained,
            use_safetensors=True, dtype=torch.float32, output_loading_info=True, **_LOCAL,
        )  # fmt: skip
    if missing := sorted(report["missing_keys"]):
        # transformers would fill these with random numbers, and the encoder would find random pictures.
        raise EncoderUnavailableError(
            f"{directory} lacks {len(missing)} of the model's weights ({missing[0]}, …): it is another "
            "model's, or was not saved whole; save it again, or choose another checkpoint"
        )
    if readers.convolutional:
        model = model.to(memory_format=torch.channels_last)
        for name, part in model.named_children():
            if name.startswith("text"):
                part.to(dtype)
    else:
        model = model.to(dtype)
    model = model.to(place).eval().requires_grad_(False)
    packed = place.type == "cpu" and pack_linear_layers(model)
    return DualEncoder(
        model=model,
        device=place,
        image_dtype=torch.float32 if readers.convolutional else dtype,
        image_layout=torch.channels_last if readers.convolutional else torch.contiguous_format,
        packed=packed,
    )


def load_readers(directory: Path) -> Readers:
    """Load the tokenizer and the image processor of a folder that check_checkpoint let pass, not its weights.

    Raises:
        EncoderUnavailableError: no dual encoder, or damaged.
    """
    with quiet_transformers():
        config = _attempt("model", directory, transformers.AutoConfig.from_pretrained, **_LOCAL)
        _require_dual_encoder(config, directory)
        load = transformers.AutoTokenizer.from_pretrained
        tokenizer = _attempt("tokenizer", directory, load, **_LOCAL)
        load = transformers.AutoImageProcessor.from_pretrained
        image_processor = _attempt("image processor", directory, load, **_LOCAL)
        model = _attempt("model", directory, partial(_structure, config))
    return Readers(
        tokens=TokenReader(tokenizer, config, position_offset=position_offset(model)),
        image_processor=image_processor,
        takes_patches=config.model_type == "siglip2",
        convolutional=sum(isinstance(module, nn.Conv2d) for module in model.modules()) > 1,
    )


def choose_device(device: str) -> torch.device:
    """Return a device that is there: auto is the GPU, if there is one.

    Raises:
        EncoderUnavailableError: it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that was built without CUDA
        why = str(error).strip().splitlines()[0]
        raise EncoderUnavailableError(
            f"there is no device {device!r} here ({why}); choose auto, cpu, cuda or mps"
        ) from error
    return place


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return what to compute in. Auto is half precision where the hardware multiplies in it, else float32.

    Raises:
        EncoderUnavailableError: there is no such precision, or not on this device.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_computes_bfloat16() else torch.float32
    if precision not in _PRECISIONS:
        raise EncoderUnavailableError(
            f"there is no precision {precision!r}; choose auto, {', '.join(_PRECISIONS)}"
        )
    if precision == "float16" and device.type == "cpu":
        raise EncoderUnavailableError("float16 is for GPUs; on a processor choose auto, float32 or bfloat16")
    return _PRECISIONS[precision]


def cpu_computes_bfloat16() -> bool:
    """Say whether bfloat16 is multiplied in hardware: AVX512-BF16, AMX, or ARM's BF16."""
    capabilities: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # before torch 2.12 there is none
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _structure(config: Any, _directory: Path) -> nn.Module:
    """Return the model without numbers: what layers it has."""
    with torch.device("meta"):
        model: nn.Module = transformers.AutoModel.from_config(config)
    return model


def _attempt(what: str, directory: Path, load: Callable[..., Any], **settings: object) -> Any:
    """Return load(directory), its failures as one of ours."""
    try:
        return load(directory, **settings)
    except ImportError as error:  # SigLIP's first tokenizer needs sentencepiece and protobuf
        why = str(error).strip().split(" but ")[0]
        raise EncoderUnavailableError(
            f"the {what} in {directory} cannot be loaded: {why}, which is not installed; install it with pip "
            "(for SentencePiece: pip install sentencepiece protobuf), or choose another checkpoint"
        ) from error
    except Exception as error:  # damaged files raise anything, and tokenizers a bare Exception
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise EncoderUnavailableError(
            f"the {what} in {directory} cannot be loaded: {why}. Copy or download the checkpoint again, or "
            "choose another"
        ) from error


def _require_dual_encoder(config: Any, directory: Path) -> None:
    """Refuse before gigabytes of weights are read that cannot be used."""
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    if not hasattr(kind, "get_image_features") or not hasattr(kind, "get_text_features"):
        raise EncoderUnavailableError(
            f"{directory} holds a {config.model_type} model, which does not put pictures and words into one "
            "space; choose a dual encoder such as CLIP, SigLIP or SigLIP 2"
        )
    if not hasattr(getattr(config, "text_config", None), "max_position_embeddings"):
        raise EncoderUnavailableError(
            f"{directory} holds a {config.model_type} model, which is not supported"
        )


def position_offset(model: nn.Module) -> int:
    """Return how many positions come before a text's first: RoBERTa counts on from the padding's id."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars, advice and deprecations from those who only wanted to search."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
