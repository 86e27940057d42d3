"""`image-retrieval train`, from the command line, on drawn photos."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from embedding.encoder import load_encoder
from tests.encoders import tiny_clip, tiny_towers
from tests.training.drawn_photos import draw_photos, write_captions
from training.recipe import PRESETS, RECIPE_FIELDS

pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 40 photos, of which one is broken, and captions.txt, which names one more."""
    folder = tmp_path_factory.mktemp("data")
    photos = draw_photos(folder / "images", 40)
    captions = write_captions(folder / "captions.txt", photos)
    with captions.open("a", encoding="utf-8") as file:
        file.write("gone.png,a picture that is not there\n")
    (folder / "images" / photos[0].name).write_bytes(b"no picture")
    tiny_clip(folder / "clip")
    return folder


def train(data: Path, *arguments: str | Path) -> Result:
    command = [
        "train", "--images", data / "images", "--captions", data / "captions.txt", "--model", data / "clip",
        *arguments,
    ]  # fmt: skip
    return CliRunner().invoke(main, [str(each) for each in command])


def test_a_run_says_what_it_used_what_it_gained_and_what_to_do_next(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = train(data, "--out", out, "--epochs", "2")
    assert result.exit_code == 0, result.output
    assert "left out: 000.png" in result.output
    assert "left out: gone.png" in result.output
    assert "photos are few" in result.output
    assert "text → image   R@1" in result.output
    assert f"image-retrieval index PATH --model {out}" in result.output
    story = json.loads((out / "training.json").read_text())
    assert story["identity"]["recipe"]["epochs"] == 2
    assert story["identity"]["data"]["failed"] == 2
    assert story["identity"]["data"]["photos"] + story["identity"]["data"]["dev_photos"] == 39
    assert load_encoder(str(out)).dimension == 64
    assert "<html" in (out / "report.html").read_text("utf-8")
    assert (out / "model.safetensors").stat().st_mode == (out / "config.json").stat().st_mode


def test_every_field_of_the_recipe_is_an_option_and_reaches_the_run(data: Path, tmp_path: Path) -> None:
    help_text = CliRunner().invoke(main, ["train", "--help"]).output
    for name in RECIPE_FIELDS:
        assert f"--{name.replace('_', '-')}" in help_text
    arguments = [
        "--epochs",
        "1",
        "--loss",
        "sigmoid",
        "--freeze",
        "image",
        "--no-augment-photos",
        "--seed",
        "7",
    ]
    result = train(data, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 0, result.output
    recipe = json.loads((tmp_path / "out" / "training.json").read_text())["identity"]["recipe"]
    asked = {"epochs": 1, "loss": "sigmoid", "freeze": "image", "augment_photos": False, "seed": 7}
    assert asked.items() <= recipe.items()


def test_the_report_s_preset_is_the_report_s_recipe(data: Path, tmp_path: Path) -> None:
    result = train(data, "--out", tmp_path / "out", "--preset", "report")
    assert result.exit_code == 0, result.output
    recipe = json.loads((tmp_path / "out" / "training.json").read_text())["identity"]["recipe"]
    assert PRESETS["report"].items() - {("batch_size", 16)} <= recipe.items()
    assert recipe["image_learning_rate"] == recipe["text_learning_rate"] == 1e-5
    assert len((tmp_path / "out" / "steps.jsonl").read_text().splitlines()) > 3


def test_two_towers_are_joined_and_trained(data: Path, tmp_path: Path) -> None:
    vision, text = tiny_towers(tmp_path)
    command = [
        "train", "--images", data / "images", "--captions", data / "captions.txt", "--out", tmp_path / "out",
        "--vision-tower", vision, "--text-tower", text,
        "--dimension", "24", "--epochs", "1",
    ]  # fmt: skip
    result = CliRunner().invoke(main, [str(each) for each in command])
    assert result.exit_code == 0, result.output
    assert load_encoder(str(tmp_path / "out")).dimension == 24


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epochs", "0"], "epochs is 0; it must be at least 1"),
        (["--layer-decay", "2"], "layer_decay is 2.0"),
        (["--vision-tower", "x"], "go together"),
        (["--train-list", __file__], "--train-list needs --dev-list"),
        (["--vision-tower", "x", "--text-tower", "y"], "exclude each other"),
        (["--batch-size", "500"], "fewer than a batch of 500"),
        (["--loss", "hinge"], "'hinge' is not one of"),
        (["--pairs", "plain", "--texts-per-photo", "3"], "texts_per_photo must be 1"),
    ],
)
def test_what_no_run_can_mean_is_refused_in_plain_words(
    data: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    result = train(data, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_captions_file_that_is_none_is_refused(data: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "captions.txt"
    wrong.write_text("just words\n")
    result = train(data, "--out", tmp_path / "out", "--captions", wrong)
    assert result.exit_code == 2
    assert "captions.txt, line 1" in result.output


def test_a_terminal_is_not_needed_and_epochs_are_told_on_stderr(data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "app.cli", "train", "--images", data / "images", "--captions",
        data / "captions.txt", "--model", data / "clip", "--out", tmp_path / "out", "--epochs", "1",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == ["before", "epoch 1"]
    assert "\r" not in ended.stderr
