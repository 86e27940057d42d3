"""Encoders for tests: one that costs nothing, and tiny random checkpoints of each family, made at once.

A random checkpoint knows nothing, but tells pictures apart and takes every path that a trained one takes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from embedding.preprocessing import Preprocessing

# What the tiny checkpoints' tokenizer has seen; other words are spelled in smaller pieces, at worst bytes.
_CORPUS = """
a photo of the red blue green yellow black white circle square dog runs over grass with ball in its mouth
two children play on beach near water while man rides brown horse through snow and woman looks at camera
một bức ảnh về con chó màu đỏ chạy trên cỏ với quả bóng trong miệng hai đứa trẻ chơi ngoài bãi biển
người đàn ông cưỡi ngựa phụ nữ mặc áo xanh hình tròn hình vuông vàng đen trắng dưới trời mưa đường phố
"""
_SPECIAL = [
    "<pad>",
    "<unk>",
    "<bos>",
    "<eos>",
]  # eos is 3: a 2 means CLIP's first, broken form


class FakeEncoder:
    """Sees a picture as 4 × 4 colours, and a text as its colour words' colour with a trace of each word.

    So "a red picture" is nearest to red pictures, always. Another checkpoint is another fingerprint, but
    the same space.
    """

    device = "cpu"
    context_words = 77

    def __init__(self, checkpoint: str = "fake/encoder", *, dimension: int = 64) -> None:
        self.checkpoint = checkpoint
        self.dimension = dimension
        self.fingerprint = hashlib.sha256(f"{checkpoint} {dimension}".encode()).hexdigest()
        self._directions = np.random.default_rng(0).standard_normal((4 * 4 * 3 + 1, dimension))

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self._unit(
            [np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BOX)) for image in images]
        )

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.empty((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = text.casefold().split()[: self.context_words]
            colours = [ImageColor.getrgb(word)[:3] for word in words if word in ImageColor.colormap]
            mean = np.mean(colours or [(127, 127, 127)], axis=0)
            row[:] = self._unit([np.broadcast_to(mean, (4, 4, 3))])[0]
            for word in words:
                seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "replace")).digest()[:8])
                row += 0.02 * np.random.default_rng(seed).standard_normal(self.dimension)
            row /= np.linalg.norm(row)
        return rows

    def is_truncated(self, text: str) -> bool:
        return len(text.split()) > self.context_words

    def preprocessing(self) -> dict[str, object]:
        return Preprocessing((224, 224), "shortest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).to_dict()

    def _unit(self, colours: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Return unit rows for pictures of 4 × 4 colours; a little of a constant keeps grey off zero."""
        flat = np.array([np.ravel(each) for each in colours], np.float64).reshape(len(colours), 4 * 4 * 3)
        rows = np.column_stack([flat / 127.5 - 1, np.full(len(flat), 0.1)]) @ self._directions
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tiny_clip(directory: Path, *, seed: int = 0, dimension: int = 64) -> Path:
    """Write a CLIP checkpoint of a few layers: 64 px, 77 tokens, shortest edge and centre crop."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokens = _save_tokenizer(directory)
    text = _TOWER | tokens | {"max_position_embeddings": 77}
    vision = _TOWER | {"image_size": 64, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimension)
    _save_model(CLIPModel, config, directory, seed)
    size = {"shortest_edge": 64}
    CLIPImageProcessorPil(size=size, crop_size={"height": 64, "width": 64}).save_pretrained(directory)
    return directory


def tiny_siglip(directory: Path, *, seed: int = 0, dimension: int = 64) -> Path:
    """Write a SigLIP checkpoint of a few layers: 64 px squashed, texts padded to 64 tokens without a mask."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    tokens = _save_tokenizer(directory, template="$A <eos>", model_input_names=["input_ids"])
    text = (
        _TOWER
        | tokens
        | {"max_position_embeddings": 64, "hidden_size": dimension, "projection_size": dimension}
    )
    vision = _TOWER | {"image_size": 64, "patch_size": 16, "hidden_size": dimension}
    _save_model(SiglipModel, SiglipConfig(text_config=text, vision_config=vision), directory, seed)
    SiglipImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(directory)
    return directory


def tiny_naflex(directory: Path, *, seed: int = 0, dimension: int = 64) -> Path:
    """Write a SigLIP 2 NaFlex checkpoint of a few layers: patches in the picture's own shape, at most 64."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model

    tokens = _save_tokenizer(directory, template="$A <eos>", model_input_names=["input_ids"])
    text = (
        _TOWER
        | tokens
        | {"max_position_embeddings": 64, "hidden_size": dimension, "projection_size": dimension}
    )
    vision = _TOWER | {"patch_size": 16, "num_patches": 64, "hidden_size": dimension}
    _save_model(Siglip2Model, Siglip2Config(text_config=text, vision_config=vision), directory, seed)
    Siglip2ImageProcessorPil(patch_size=16, max_num_patches=64).save_pretrained(directory)
    return directory


def tiny_dual_encoder(directory: Path, *, seed: int = 0, dimension: int = 64) -> Path:
    """Write a VisionTextDualEncoderModel of a small ViT and a small BERT: 64 px squashed, 128 tokens."""
    from transformers import ViTConfig

    return _save_dual_encoder(directory, ViTConfig(**_TOWER, image_size=64, patch_size=16), seed, dimension)


def tiny_towers(directory: Path) -> tuple[Path, Path]:
    """Write an image tower and a text tower that are two checkpoints of their own; return their folders."""
    from transformers import AutoModel

    both = tiny_dual_encoder(directory / "both")
    model = AutoModel.from_pretrained(both)
    folders = directory / "vision_model", directory / "text_model"
    for folder in folders:
        getattr(model, folder.name).save_pretrained(folder)
        for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((both / name).read_bytes())
    return folders


def tiny_convolutional(directory: Path, *, seed: int = 0, dimension: int = 64) -> Path:
    """Write a VisionTextDualEncoderModel of a thin MobileNetV2 and a small BERT: 64 px, 128 tokens."""
    from transformers import MobileNetV2Config

    vision = MobileNetV2Config(depth_multiplier=0.25, image_size=64, hidden_size=1280)
    return _save_dual_encoder(directory, vision, seed, dimension)


_TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def _save_dual_encoder(directory: Path, vision: object, seed: int, dimension: int) -> Path:
    from transformers import (
        BertConfig,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        ViTImageProcessorPil,
    )

    text = BertConfig(**_TOWER, **_save_tokenizer(directory), max_position_embeddings=128)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=dimension)
    _save_model(VisionTextDualEncoderModel, config, directory, seed)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(directory)
    return directory


def _save_tokenizer(
    directory: Path, *, template: str = "<bos> $A <eos>", **settings: object
) -> dict[str, int]:
    """Write a byte-level BPE that encodes any text; return what the text tower's configuration needs."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=768, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS.splitlines(), trainer)
    ids = {name.strip("<>"): tokenizer.token_to_id(name) for name in _SPECIAL}
    ends = [("<bos>", ids["bos"]), ("<eos>", ids["eos"])]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    names = {f"{name.strip('<>')}_token": name for name in _SPECIAL}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", **names, **settings)
    fast.save_pretrained(directory)
    return {"vocab_size": tokenizer.get_vocab_size()} | {
        f"{name}_token_id": ids[name] for name in ("pad", "bos", "eos")
    }


def _save_model(kind: type, config: object, directory: Path, seed: int) -> None:
    """Write random weights, wide enough apart that different inputs get clearly different embeddings."""
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(
                    weight, std=weight[0].numel() ** -0.5 if "embedding" not in name else 0.5
                )
    config.architectures = [kind.__name__]
    config.save_pretrained(directory)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
