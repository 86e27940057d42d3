"""Real (tiny) checkpoints against transformers' own processors and models."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from embedding.encoder import Encoder, load_encoder
from embedding.errors import EncoderOutOfMemoryError, EncoderUnavailableError
from embedding.images import decode_image
from embedding.preprocessing import Preprocessing
from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder, tiny_naflex, tiny_siglip

FAMILIES = {"clip": tiny_clip, "siglip": tiny_siglip, "naflex": tiny_naflex, "dual": tiny_dual_encoder}
TEXTS = [
    "a red circle",
    "hai đứa trẻ chơi ngoài bãi biển",
    "a photo of a brown dog that runs over the grass with a ball in its mouth " * 12,
    "",
    "  ",
    "🐶 x\0y",
]


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return load_encoder(str(checkpoint), precision="float32")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "clip")


def pictures(count: int = 5) -> list[Image.Image]:
    """Return pictures of blurred noise, in many sizes and shapes."""
    random = np.random.default_rng(0)
    small = [Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)) for _ in range(count)]
    return [each.resize((90 + 37 * (at % 5), 160 - 21 * (at % 4))) for at, each in enumerate(small)]


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    assert one.shape == other.shape
    return (one * other).sum(axis=1)


def by_transformers(checkpoint: Path, features: str, **inputs: Any) -> NDArray[np.float32]:
    """Embed as transformers' documentation does."""
    model = transformers.AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = getattr(model, features)(**inputs).pooler_output
    return torch.nn.functional.normalize(output, dim=-1).numpy()


def test_pictures_embed_as_transformers_embeds_them(checkpoint: Path, encoder: Encoder) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint)
    expected = by_transformers(
        checkpoint, "get_image_features", **processor(images=pictures(), return_tensors="pt")
    )
    embeddings = encoder.encode_images(pictures())
    assert embeddings.dtype == np.float32
    assert cosines(embeddings, expected).min() > 0.99999
    assert (expected @ expected.T).min() < 0.9, "pictures that all look alike prove nothing"


def test_texts_embed_as_transformers_embeds_them(checkpoint: Path, encoder: Encoder) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    config = transformers.AutoConfig.from_pretrained(checkpoint)
    length = config.text_config.max_position_embeddings
    padding = "max_length" if config.model_type.startswith("siglip") else "longest"
    tokens = tokenizer(TEXTS, padding=padding, truncation=True, max_length=length, return_tensors="pt")
    expected = by_transformers(checkpoint, "get_text_features", **tokens)
    assert cosines(encoder.encode_texts(TEXTS), expected).min() > 0.99999


def test_bfloat16_agrees_with_float32(checkpoint: Path, encoder: Encoder) -> None:
    faster = load_encoder(str(checkpoint), precision="bfloat16")
    assert cosines(faster.encode_images(pictures()), encoder.encode_images(pictures())).min() > 0.999
    assert cosines(faster.encode_texts(TEXTS), encoder.encode_texts(TEXTS)).min() > 0.999


def test_short_questions_in_bfloat16_agree_too_and_leave_the_cores_alone(
    checkpoint: Path, encoder: Encoder
) -> None:
    faster = load_encoder(str(checkpoint), precision="bfloat16")
    cores = torch.get_num_threads()
    alone = np.concatenate([faster.encode_texts([text]) for text in TEXTS])
    assert cosines(alone, encoder.encode_texts(TEXTS)).min() > 0.999
    assert torch.get_num_threads() == cores


def test_alone_or_in_a_crowd_an_input_embeds_the_same_and_in_its_place(encoder: Encoder) -> None:
    images = pictures(37)
    singles = np.concatenate([encoder.encode_images([image]) for image in images])
    assert cosines(encoder.encode_images(images), singles).min() > 0.9999
    texts = [text * (1 + at % 3) for at, text in enumerate(TEXTS * 14)]
    singles = np.concatenate([encoder.encode_texts([text]) for text in texts])
    assert cosines(encoder.encode_texts(texts), singles).min() > 0.9999


def test_rows_have_unit_length_and_nothing_gives_no_rows(encoder: Encoder) -> None:
    embeddings = np.concatenate([encoder.encode_images(pictures()), encoder.encode_texts(TEXTS)])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, encoder.dimension)
    assert encoder.dimension == 64


def test_a_text_beyond_the_context_is_said_to_be_cut(checkpoint: Path, encoder: Encoder) -> None:
    context = transformers.AutoConfig.from_pretrained(checkpoint).text_config.max_position_embeddings
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    words = "red " * context
    while len(tokenizer(words.strip())["input_ids"]) > context:
        words = words[: -len("red ")]
    assert not encoder.is_truncated("a red circle")
    assert not encoder.is_truncated(words.strip())
    assert encoder.is_truncated(words + "red")


def test_half_a_character_is_refused_in_plain_words(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"surrogate.* at position 2"):
        encoder.encode_texts(["a \ud83d"])
    with pytest.raises(ValueError, match="surrogate"):
        encoder.is_truncated("\ud83d")


def test_a_string_is_never_taken_for_a_picture(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(path)
    for text in (str(path), "http://localhost/x.png"):
        with pytest.raises(TypeError, match="decoded PIL pictures, not str"):
            encoder.encode_images([text])  # type: ignore[list-item]


def test_grey_and_transparent_pictures_are_taken(encoder: Encoder) -> None:
    (picture,) = pictures(1)
    assert encoder.encode_images([picture.convert("L"), picture.convert("RGBA")]).shape == (2, 64)


def test_the_preprocessing_is_json_and_reads_back(encoder: Encoder) -> None:
    settings = encoder.preprocessing()
    assert json.loads(json.dumps(settings)) == settings
    if "max_num_patches" not in settings:
        assert Preprocessing.from_processor(settings).to_dict() == settings


def test_threads_share_an_encoder(clip: Path) -> None:
    encoder = load_encoder(str(clip), precision="float32", threads=1)
    texts = [TEXTS[at % 2] * (1 + at) for at in range(12)]
    expected = encoder.encode_texts(texts)

    def ask(at: int) -> float:
        return float(encoder.encode_texts([texts[at]])[0] @ expected[at])

    with ThreadPoolExecutor(8) as pool:
        assert min(pool.map(ask, list(range(len(texts))) * 5)) > 0.9999


def test_every_exif_orientation_embeds_as_the_upright_picture(clip: Path) -> None:
    encoder = load_encoder(str(clip))
    (upright,) = pictures(1)
    turns = Image.Transpose
    as_filed = {
        1: None, 2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE, 6: turns.ROTATE_90, 7: turns.TRANSVERSE, 8: turns.ROTATE_270,
    }  # fmt: skip
    (expected,) = encoder.encode_images([upright])
    for orientation, turn in as_filed.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = BytesIO()
        filed = upright if turn is None else upright.transpose(turn)
        filed.save(file, "JPEG", quality=95, exif=exif)
        (embedding,) = encoder.encode_images([decode_image(file.getvalue(), name=f"{orientation}.jpg")])
        assert embedding @ expected > 0.99
        if turn is not None:
            assert encoder.encode_images([filed])[0] @ expected < 0.99, "a turned picture must look different"


def test_a_convolutional_tower_stays_in_float32(tmp_path: Path) -> None:
    checkpoint = tiny_convolutional(tmp_path / "convolutional")
    exact, faster = (load_encoder(str(checkpoint), precision=each) for each in ("float32", "bfloat16"))
    assert cosines(exact.encode_images(pictures()), faster.encode_images(pictures())).min() > 0.99999
    text_cosines = cosines(exact.encode_texts(TEXTS), faster.encode_texts(TEXTS))
    assert 0.999 < text_cosines.min() < 1 - 1e-7


# What can be wrong with a checkpoint, and what the message must say of it.


def flip_a_weight(directory: Path, value: float) -> None:
    tensors = load_file(directory / "model.safetensors")
    tensors["text_projection.weight"][0, 0] = value
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def drop_a_weight(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def ask_for(directory: Path, **settings: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda at: flip_a_weight(at, float("nan")), "not finite.* weights are damaged"),
        (drop_a_weight, r"lacks 1 of the model's weights \(visual_projection.weight"),
        (
            lambda at: cut(at / "model.safetensors"),
            "model in .* cannot be loaded.* download the checkpoint again",
        ),
        (lambda at: cut(at / "tokenizer.json"), "tokenizer in .* cannot be loaded"),
        (lambda at: (at / "tokenizer.json").unlink(), "tokenizer in .* cannot be loaded"),
        (lambda at: (at / "preprocessor_config.json").unlink(), "image processor in .* cannot be loaded"),
        (lambda at: ask_for(at, projection_dim=32), "model in .* cannot be loaded"),
        (lambda at: ask_for(at, model_type="bert"), "bert model.* choose a dual encoder"),
        (lambda at: ask_for(at, model_type="unheard_of"), "model in .* cannot be loaded.*unheard_of"),
        (lambda at: ask_for(at, model_type="x", auto_map={"AutoConfig": "evil.Config"}), "cannot be loaded"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_what_is_wrong_and_the_way_out(
    harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    checkpoint = tiny_clip(tmp_path / "damaged")
    (checkpoint / "evil.py").write_text("raise SystemExit('code from the checkpoint has run')")
    harm(checkpoint)
    with pytest.raises(EncoderUnavailableError, match=message) as caught:
        load_encoder(str(checkpoint))
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="it is there")
def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    checkpoint = tiny_siglip(tmp_path / "siglip")
    path = checkpoint / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "SiglipTokenizer"}))
    with pytest.raises(EncoderUnavailableError, match=r"SentencePiece.* pip install sentencepiece"):
        load_encoder(str(checkpoint))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "cuda:99"}, "no device 'cuda:99' here.* choose auto, cpu"),
        ({"device": "toaster"}, "no device 'toaster' here"),
        ({"precision": "int3"}, "no precision 'int3'; choose auto, float32"),
        ({"precision": "float16", "device": "cpu"}, "float16 is for GPUs"),
    ],
)
def test_a_device_or_precision_that_is_not_there_is_refused(
    settings: dict[str, str], message: str, clip: Path
) -> None:
    with pytest.raises(EncoderUnavailableError, match=message):
        load_encoder(str(clip), **settings)


def test_loading_says_nothing(clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_encoder(str(clip))
    assert capfd.readouterr() == ("", "")


def short_of_memory(encoder: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model ask PyTorch for an exabyte from more rows than this on; return the sizes that worked."""
    sizes: list[int] = []
    model = encoder._engine._loaded.model

    def short(real: Callable[..., Any], **inputs: torch.Tensor) -> Any:
        rows = len(next(iter(inputs.values())))
        if rows > most:
            torch.empty(1 << 58)
        sizes.append(rows)
        return real(**inputs)

    for name in ("get_image_features", "get_text_features"):
        monkeypatch.setattr(model, name, partial(short, getattr(model, name)))
    return sizes


def test_a_batch_that_does_not_fit_into_memory_goes_by_halves(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder.encode_images(pictures(11)), encoder.encode_texts(TEXTS)
    sizes = short_of_memory(encoder, 2, monkeypatch)
    halved = encoder.encode_images(pictures(11)), encoder.encode_texts(TEXTS)
    for one, other in zip(whole, halved, strict=True):
        assert cosines(one, other).min() > 0.9999
    assert max(sizes) == 2


def test_no_memory_for_a_single_one_is_an_error_that_says_so_and_the_next_question_works(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        short_of_memory(encoder, 0, patch)
        with pytest.raises(EncoderOutOfMemoryError, match="cpu has no memory left"):
            encoder.encode_images(pictures(3))
        with pytest.raises(EncoderOutOfMemoryError, match="can't allocate memory"):
            encoder.encode_texts(["a red circle"])
    assert encoder.encode_texts(["a red circle"]).shape == (1, 64)
