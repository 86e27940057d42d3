"""What can be trained: a checkpoint opened again, and two towers joined."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel

from embedding.encoder import load_encoder
from embedding.errors import EncoderUnavailableError
from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder, tiny_naflex, tiny_siglip
from training.errors import StartError
from training.towers import join_towers, open_checkpoint


def take_apart(both: Path, folder: Path) -> tuple[Path, Path]:
    """Write a dual encoder's halves as two checkpoints of their own."""
    model = AutoModel.from_pretrained(both)
    for half in ("vision_model", "text_model"):
        getattr(model, half).save_pretrained(folder / half)
        for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / half / name).write_bytes((both / name).read_bytes())
    return folder / "vision_model", folder / "text_model"


@pytest.mark.parametrize("family", [tiny_clip, tiny_siglip, tiny_dual_encoder, tiny_convolutional])
def test_a_checkpoint_opened_and_saved_embeds_as_before(family, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    start = family(tmp_path / "start")
    towers = open_checkpoint(str(start))
    assert all(parameter.requires_grad for parameter in towers.model.parameters())
    towers.save(tmp_path / "saved")
    before, after = (load_encoder(str(tmp_path / name), precision="float32") for name in ("start", "saved"))
    picture = Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 50).convert("RGB")
    np.testing.assert_allclose(after.encode_images([picture]), before.encode_images([picture]), atol=1e-6)
    texts = ["a red circle", "hai con chó"]
    np.testing.assert_allclose(after.encode_texts(texts), before.encode_texts(texts), atol=1e-6)
    assert after.preprocessing() == before.preprocessing()


def test_letterboxing_survives_a_save(tmp_path: Path) -> None:
    start = tiny_clip(tmp_path / "start")
    settings = json.loads((start / "preprocessor_config.json").read_text())
    settings |= {"resize_mode": "longest", "do_center_crop": False, "size": {"height": 64, "width": 64}}
    (start / "preprocessor_config.json").write_text(json.dumps(settings))
    towers = open_checkpoint(str(start))
    assert towers.preprocessing.resize_mode == "longest"
    towers.save(tmp_path / "saved")
    assert open_checkpoint(str(tmp_path / "saved")).preprocessing == towers.preprocessing


@pytest.mark.parametrize("family", [tiny_dual_encoder, tiny_convolutional])
def test_two_towers_become_one_dual_encoder_that_any_program_opens(family, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    vision, text = take_apart(family(tmp_path / "both"), tmp_path)
    towers = join_towers(str(vision), str(text), dimension=40, seed=3)
    assert towers.joined
    towers.save(tmp_path / "joined")
    assert load_encoder(str(tmp_path / "joined")).dimension == 40
    joined = load_file(tmp_path / "joined" / "model.safetensors")
    for name, tensor in load_file(vision / "model.safetensors").items():
        assert torch.equal(joined[f"vision_model.{name}"], tensor)
    again = join_towers(str(vision), str(text), dimension=40, seed=3)
    assert torch.equal(again.model.visual_projection.weight, towers.model.visual_projection.weight)
    other = join_towers(str(vision), str(text), dimension=40, seed=4)
    assert not torch.equal(other.model.visual_projection.weight, towers.model.visual_projection.weight)


def test_clip_s_halves_can_be_joined_with_another_s(tmp_path: Path) -> None:
    _, text = take_apart(tiny_dual_encoder(tmp_path / "both"), tmp_path)
    towers = join_towers(str(tiny_clip(tmp_path / "clip")), str(text))
    towers.save(tmp_path / "joined")
    assert load_encoder(str(tmp_path / "joined")).dimension == 512


def test_what_is_no_tower_is_refused_in_plain_words(tmp_path: Path) -> None:
    vision, text = take_apart(tiny_dual_encoder(tmp_path / "both"), tmp_path)
    with pytest.raises(StartError, match="cannot be joined"):
        join_towers(str(text), str(vision))
    with pytest.raises(EncoderUnavailableError, match="no folder"):
        join_towers(str(tmp_path / "nowhere"), str(text))
    with pytest.raises(StartError, match="NaFlex"):
        open_checkpoint(str(tiny_naflex(tmp_path / "naflex")))
