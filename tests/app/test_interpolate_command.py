"""`image-retrieval interpolate`, from the command line, on drawn photos."""

import json
from pathlib import Path

import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from app.cli import main
from embedding.encoder import load_encoder
from tests.encoders import tiny_clip
from tests.training.drawn_photos import draw_photos, write_captions


def interpolate(folder: Path, *arguments: str | Path) -> Result:
    command = [
        "interpolate", folder / "start", folder / "tuned", "--images", folder / "images",
        "--captions", folder / "captions.txt", "--out", folder / "out", *arguments,
    ]  # fmt: skip
    return CliRunner().invoke(main, [str(each) for each in command])


def prepare(folder: Path) -> None:
    write_captions(folder / "captions.txt", draw_photos(folder / "images", 60))
    tiny_clip(folder / "start", seed=0)
    tiny_clip(folder / "tuned", seed=1)


def test_the_sweep_runs_from_the_start_to_the_tuned_and_saves_what_it_marks(tmp_path: Path) -> None:
    prepare(tmp_path)
    result = interpolate(tmp_path, "--json", "--allowed-loss", "100")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [point["alpha"] for point in found["points"]] == [step / 10 for step in range(11)]
    assert found["points"][0]["agreement"] == 100
    assert found["points"][-1]["agreement"] < 90
    assert found["alpha"] == 0.0, "any loss is allowed, so the one that forgets nothing is best"
    saved, start = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "start"))
    assert all(torch.equal(saved[name], start[name]) for name in start)
    assert load_encoder(str(tmp_path / "out")).dimension == 64


def test_no_allowed_loss_saves_the_best_on_the_dev_photos(tmp_path: Path) -> None:
    prepare(tmp_path)
    result = interpolate(tmp_path, "--json", "--allowed-loss", "0")
    found = json.loads(result.stdout)
    means = {
        point["alpha"]: sum(point["dev"]["text_to_image"] + point["dev"]["image_to_text"])
        for point in found["points"]
    }
    assert means[found["alpha"]] == max(means.values())


def test_checkpoints_of_two_models_are_refused_in_plain_words(tmp_path: Path) -> None:
    prepare(tmp_path)
    tiny_clip(tmp_path / "wide", dimension=32)
    (tmp_path / "tuned" / "config.json").write_bytes((tmp_path / "wide" / "config.json").read_bytes())
    save_file(load_file(tmp_path / "wide" / "model.safetensors"), tmp_path / "tuned" / "model.safetensors")
    result = interpolate(tmp_path)
    assert result.exit_code == 2
    assert "before fine-tuning" in result.output
    assert not (tmp_path / "out").exists()
