"""What is trained: a dual encoder's checkpoint opened again, or two pretrained towers joined into one."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embedding.checkpoints import find_checkpoint
from embedding.errors import EncoderUnavailableError
from embedding.preprocessing import Preprocessing
from embedding.tokens import TokenReader
from embedding.transformers_loading import (
    load_dual_encoder,
    load_readers,
    position_offset,
    quiet_transformers,
)
from training.errors import StartError

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, slots=True)
class DualTowers:
    """A dual encoder in float32, with what reads its inputs and what saves it."""

    model: Any
    """transformers' CLIPModel, SiglipModel, VisionTextDualEncoderModel, or their like."""
    tokens: TokenReader
    preprocessing: Preprocessing
    image_processor: Any
    origin: str
    """What the model was opened from, for people to read."""
    joined: bool
    """The towers never met: their vectors mean nothing to each other yet."""

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Return float32 (n, d), unit rows, for float (n, 3, height, width)."""
        return _unit_rows(self.model.get_image_features(pixel_values=pixels))

    def embed_texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return float32 (n, d), unit rows, for what TokenReader.read gives."""
        return _unit_rows(self.model.get_text_features(**tokens))

    def logit_scale(self) -> Tensor:
        """Return the inverse temperature itself, float32 ()."""
        scale: Tensor = self.model.logit_scale.float().exp().squeeze()
        return scale

    def save(self, directory: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a checkpoint that every transformers program opens; weights default to the model's own.

        Each file is written under another name first, the weights last: a folder that has them is whole.
        """
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".saving-") as temporary, quiet_transformers():
            fresh = Path(temporary)
            self.tokens.tokenizer.save_pretrained(fresh)
            self.image_processor.save_pretrained(fresh)
            _keep_our_resize_mode(fresh / "preprocessor_config.json", self.preprocessing)
            self.model.save_pretrained(fresh, state_dict=None if weights is None else dict(weights))
            mode = (fresh / "config.json").stat().st_mode
            for path in sorted(fresh.iterdir(), key=lambda path: path.suffix == ".safetensors"):
                # safetensors lets only its writer read it; the others' mode is what the user's umask wants
                path.chmod(mode)
                path.replace(directory / path.name)


def open_checkpoint(model: str) -> DualTowers:
    """Open a dual encoder to train it further: a hub name, or a folder.

    Raises:
        EncoderUnavailableError: as load_encoder.
        StartError: it cannot be trained here.
    """
    directory = find_checkpoint(model)
    readers = load_readers(directory)
    if readers.takes_patches:
        raise StartError(
            f"{model} takes pictures as patches of their own shape (NaFlex), which is not trained here"
        )
    loaded = load_dual_encoder(directory, readers, device="cpu", precision="float32")
    loaded.model.requires_grad_(True)
    settings = json.loads(readers.image_processor.to_json_string())
    return DualTowers(
        loaded.model,
        readers.tokens,
        Preprocessing.from_processor(settings),
        readers.image_processor,
        model,
        False,
    )


def join_towers(vision: str, text: str, *, dimension: int = 512, seed: int = 0) -> DualTowers:
    """Join two pretrained towers by fresh projections into one space of this many dimensions.

    Args:
        vision: an image model with a pooled output (ViT, MobileNetV2, CLIP's half, …), hub name or folder.
        text: a text model with a pooled output (BERT and its kin).
        dimension: of the embeddings.
        seed: decides the fresh projections.

    Raises:
        EncoderUnavailableError: one of them cannot be found.
        StartError: one of them cannot be loaded, or is no tower.
    """
    from transformers import AutoImageProcessor, AutoTokenizer, VisionTextDualEncoderConfig
    from transformers import VisionTextDualEncoderModel as DualEncoderModel

    # folders, so that bandit's B615 (a download without a revision) does not apply
    vision_folder, text_folder = find_checkpoint(vision), find_checkpoint(text)
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image_processor = AutoImageProcessor.from_pretrained(vision_folder, **_LOCAL)  # nosec B615
            tokenizer = AutoTokenizer.from_pretrained(text_folder, **_LOCAL)  # nosec B615
            preprocessing = Preprocessing.from_processor(json.loads(image_processor.to_json_string()))
            vision_model, text_model = (
                _tower(vision_folder, "vision_model"),
                _tower(text_folder, "text_model"),
            )
            if not hasattr(vision_model.config, "hidden_size"):  # convolutional towers name no width
                pooled = vision_model(pixel_values=torch.zeros(1, 3, *preprocessing.size_px)).pooler_output
                vision_model.config.hidden_size = pooled.flatten(1).shape[1]
            config = VisionTextDualEncoderConfig.from_vision_text_configs(
                vision_model.config, text_model.config, projection_dim=dimension
            )
            model = DualEncoderModel(config, vision_model=vision_model, text_model=text_model)
            tokens = TokenReader(tokenizer, config, position_offset=position_offset(text_model))
    except EncoderUnavailableError:
        raise
    except Exception as error:  # transformers raises anything where a folder is not what it was taken for
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StartError(f"{vision} and {text} cannot be joined: {why}") from error
    towers = DualTowers(model.float(), tokens, preprocessing, image_processor, f"{vision} + {text}", True)
    _require_vectors(towers)
    return towers


def _tower(folder: Path, half: str) -> Any:
    """Return a folder's model, of a dual encoder the named half."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(  # nosec B615
        folder, **_LOCAL, use_safetensors=True, dtype=torch.float32
    )
    return getattr(model, half, model)


def _require_vectors(towers: DualTowers) -> None:
    """Raise StartError unless a picture and a word come out as vectors of one space."""
    towers.model.eval()
    try:
        with torch.no_grad():
            image = towers.embed_images(torch.zeros(1, 3, *towers.preprocessing.size_px))
            text = towers.embed_texts(towers.tokens.read(["orange"]))
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise StartError(f"{towers.origin}: no pooled output of a picture and a text: {error}") from error
    if image.ndim != 2 or image.shape != text.shape:
        raise StartError(
            f"{towers.origin}: a picture becomes {tuple(image.shape)}, a text {tuple(text.shape)}"
        )


def _unit_rows(output: Any) -> Tensor:
    return normalize(getattr(output, "pooler_output", output).float(), dim=-1)


def _keep_our_resize_mode(path: Path, preprocessing: Preprocessing) -> None:
    """Add the key that only we know, where transformers' own keys do not say it: letterboxing."""
    settings = json.loads(path.read_text("utf-8"))
    if Preprocessing.from_processor(settings) != preprocessing:
        path.write_text(json.dumps({**settings, "resize_mode": preprocessing.resize_mode}, indent=2), "utf-8")
