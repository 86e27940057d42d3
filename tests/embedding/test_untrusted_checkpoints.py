"""A checkpoint that somebody else made is data: nothing in its folder runs, and nothing leads out of it."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from embedding.encoder import load_encoder
from embedding.errors import EncoderUnavailableError
from tests.encoders import tiny_clip
from training.towers import join_towers

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import CLIPConfig as EvilConfig, CLIPModel as Evil, CLIPTokenizer as EvilTokenizer
"""


class Evil:
    """Unpickled, it writes the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return Path.write_text, (self.marker, "ran")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_clip(tmp_path / "checkpoint")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def edit(path: Path, **changes: object) -> None:
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(settings | changes))


def bring_code(folder: Path, marker: Path, **config: object) -> None:
    """Let every settings file of a checkpoint ask for code that lies beside it."""
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    classes = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModel": "evil.Evil",
        "AutoTokenizer": ["evil.EvilTokenizer", None],
        "AutoImageProcessor": "evil.Evil",
    }
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        edit(folder / name, auto_map=classes, **(config if name == "config.json" else {}))


def test_code_that_comes_with_a_checkpoint_never_runs(folder: Path, marker: Path) -> None:
    before = load_encoder(str(folder)).encode_texts(["red"])
    bring_code(folder, marker)
    np.testing.assert_array_equal(load_encoder(str(folder)).encode_texts(["red"]), before)
    assert not marker.exists()


def test_a_model_that_needs_its_own_code_is_refused(folder: Path, marker: Path) -> None:
    bring_code(folder, marker, model_type="evil", architectures=["Evil"])
    with pytest.raises(EncoderUnavailableError):
        load_encoder(str(folder))
    assert not marker.exists()


def test_nor_does_code_of_a_tower_to_be_trained(folder: Path, marker: Path) -> None:
    bring_code(folder, marker)
    join_towers(str(folder), str(folder), dimension=8, seed=1)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "training_args.bin", "optimizer.pt"])
def test_a_pickle_beside_the_weights_is_never_opened(folder: Path, marker: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps(Evil(marker)))
    load_encoder(str(folder))
    assert not marker.exists()


def test_a_pickle_instead_of_the_weights_is_refused_unopened(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(EncoderUnavailableError, match="pickle"):
        load_encoder(str(folder))
    assert not marker.exists()


def test_a_pickle_under_the_name_of_safetensors_is_refused(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(EncoderUnavailableError):
        load_encoder(str(folder))
    assert not marker.exists()


def test_an_adapter_that_would_load_another_model_is_refused(
    folder: Path, marker: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    edit(folder / "adapter_config.json", base_model_name_or_path=str(other), peft_type="LORA", r=2)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(EncoderUnavailableError, match="merge"):
        load_encoder(str(folder))
    assert not marker.exists()


def test_weights_named_outside_the_folder_are_not_read(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(secret)
    index = {"metadata": {}, "weight_map": {"logit_scale": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EncoderUnavailableError):
        load_encoder(str(folder))
