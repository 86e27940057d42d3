"""Finding checkpoints, and telling them apart."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from embedding.checkpoints import find_checkpoint
from embedding.encoder import fingerprint, fingerprint_of, load_encoder
from embedding.errors import EncoderUnavailableError
from tests.encoders import tiny_clip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "clip")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub client's, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cached(checkpoint: Path, cache: Path, name: str, *, ref: str = "main") -> Path:
    """Put a checkpoint where the hub client would have put its download."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / ref).write_text("0123abcd")
    return Path(shutil.copytree(checkpoint, repository / "snapshots" / "0123abcd"))


def set_key(path: Path, key: str, value: object) -> None:
    path.write_text(json.dumps({key: value} | json.loads(path.read_text()) | {key: value}))


def test_a_copy_elsewhere_is_the_same_encoder(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    (copy / "README.md").write_text("another place")
    (copy / "results.json").write_text("[]")
    (copy / "pytorch_model.bin").write_bytes(b"another framework's")
    (copy / "onnx").mkdir()
    (copy / "onnx" / "config.json").write_text("{}")
    set_key(copy / "config.json", "transformers_version", "9.9")
    set_key(copy / "config.json", "_name_or_path", "/somewhere/else")
    assert fingerprint(copy) == fingerprint(checkpoint) == fingerprint_of(str(copy))
    assert len(fingerprint(copy)) == 64


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda at: flip_a_bit(at / "model.safetensors"),
        lambda at: set_key(at / "preprocessor_config.json", "image_mean", [0.5, 0.5, 0.5]),
        lambda at: set_key(at / "preprocessor_config.json", "resize_mode", "squash"),
        lambda at: set_key(at / "config.json", "projection_dim", 32),
        lambda at: set_key(at / "tokenizer_config.json", "model_max_length", 20),
        lambda at: flip_a_bit(at / "tokenizer.json"),
        lambda at: (at / "vocab.txt").write_text("dog"),
        lambda at: (at / "model.safetensors").rename(at / "model-00001-of-00001.safetensors"),
    ],
    ids=["weight", "mean", "resize", "config", "context", "vocabulary", "another file", "another name"],
)
def test_whatever_decides_an_embedding_makes_another_encoder(
    change: Callable[[Path], None], checkpoint: Path
) -> None:
    before = fingerprint(checkpoint)
    change(checkpoint)
    assert fingerprint(checkpoint) != before


def test_a_hub_name_loads_from_the_cache_without_network(checkpoint: Path, cache: Path) -> None:
    snapshot = cached(checkpoint, cache, "someone/clip")
    encoder = load_encoder("someone/clip", precision="float32")
    assert encoder.checkpoint == "someone/clip"
    assert encoder.fingerprint == fingerprint(snapshot) == fingerprint_of("someone/clip")


def test_a_repository_of_pickles_loads_by_its_cached_conversion(checkpoint: Path, cache: Path) -> None:
    """The hub's bot puts safetensors on a pull request, which is cached beside main."""
    snapshot = cached(checkpoint, cache, "someone/clip", ref="refs/pr/7")
    (snapshot.parent / "main").mkdir()
    (snapshot.parent / "main" / "config.json").write_text("{}")
    (cache / "models--someone--clip" / "refs" / "main").write_text("main")
    assert find_checkpoint("someone/clip") == snapshot


def test_a_relative_folder_is_known_by_its_absolute_path(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    assert load_encoder("clip").checkpoint == str(checkpoint)


def test_a_model_that_is_not_here_names_the_ways_out(cache: Path) -> None:
    for find in (find_checkpoint, fingerprint_of):
        with pytest.raises(EncoderUnavailableError, match="someone/clip is neither a folder nor"):
            find("someone/clip")
    with pytest.raises(EncoderUnavailableError) as caught:
        load_encoder("someone/clip")
    for way_out in ("HF_HUB_OFFLINE", "hf download someone/clip", "--model PATH", "HF_HOME", str(cache)):
        assert way_out in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda at: (at / "config.json").unlink(), "has no config.json"),
        (lambda at: (at / "config.json").write_text("{"), "config.json is no JSON.* download it again"),
        (lambda at: (at / "config.json").write_text("[]"), "config.json holds no JSON object"),
        (lambda at: (at / "tokenizer_config.json").write_text("{"), "tokenizer_config.json is no JSON"),
        (lambda at: (at / "model.safetensors").unlink(), "no model.safetensors"),
        (
            lambda at: (at / "model.safetensors").rename(at / "pytorch_model.bin"),
            "only as a pickle.* Convert it to safetensors",
        ),
    ],
)
def test_a_folder_that_is_no_whole_checkpoint_is_refused(
    change: Callable[[Path], object], message: str, checkpoint: Path
) -> None:
    change(checkpoint)
    with pytest.raises(EncoderUnavailableError, match=message):
        load_encoder(str(checkpoint))


def test_a_missing_shard_is_named(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(EncoderUnavailableError, match=r"lacks model-00002-of-00002\.safetensors"):
        find_checkpoint(str(checkpoint))


def test_a_path_that_leads_nowhere_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), "./none", "~/none-such", "one/two/three"):
        with pytest.raises(EncoderUnavailableError, match="there is no folder"):
            find_checkpoint(path)
    (tmp_path / "file").touch()
    with pytest.raises(EncoderUnavailableError, match="is a file"):
        find_checkpoint(str(tmp_path / "file"))


def test_the_protocol_is_had_without_pytorch() -> None:
    code = "import sys, embedding.encoder; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
