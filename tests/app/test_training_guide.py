"""The commands of docs/training.md and docs/evaluation.md run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.conftest import ROOT
from tests.encoders import tiny_clip, tiny_siglip, tiny_towers
from tests.training.drawn_photos import draw_photos, write_captions

pytestmark = pytest.mark.usefixtures("fresh_accelerate")

RUN_ELSEWHERE = ("torchrun", "export", "image-retrieval serve", "image-retrieval evaluate --through api")
"""By the tests of processes and of the service."""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the guides name: photos, captions, lists, and checkpoints by hub names."""
    photos = draw_photos(tmp_path / "photos", 40)
    write_captions(tmp_path / "captions.txt", photos)
    (tmp_path / "dev.txt").write_text("\n".join(photo.name for photo in photos[:12]))
    tiny_clip(tmp_path / "openai" / "clip-vit-base-patch32")
    tiny_siglip(tmp_path / "google" / "siglip-base-patch16-224")
    vision, text = tiny_towers(tmp_path)
    vision.rename(tmp_path / "VISION")
    text.rename(tmp_path / "TEXT")
    for name, folder in {"FOLDER": "photos", "CHECKPOINT": "my-encoder", "NEW": "my-encoder"}.items():
        (tmp_path / name).symlink_to(folder)
    (tmp_path / "OLD").symlink_to("openai/clip-vit-base-patch32")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands_of(page: str) -> list[str]:
    """Return the shell lines of a page's ```sh blocks, in order."""
    blocks = re.findall(
        r"^ *```sh\n(.*?)^ *```$", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def run(command: str) -> None:
    words = shlex.split(command)
    environment: dict[str, str | None] = {"IMAGE_RETRIEVAL_DATA_DIR": "my-gallery"}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    assert words.pop(0) == "image-retrieval", command
    if words[0] == "train":
        words += ["--epochs", "1", "--batch-size", "8"]
    result = CliRunner().invoke(main, words, env=environment)
    assert result.exit_code == 0, f"{command}\n{result.output}"


def test_the_guides_commands_run_one_after_the_other(workplace: Path) -> None:
    lines = [*commands_of("training.md"), *commands_of("evaluation.md")]
    run_here = [line for line in lines if not line.startswith(RUN_ELSEWHERE)]
    assert len(run_here) >= 12, lines
    for command in dict.fromkeys(run_here):
        out = re.search(r"--out (\S+)", command)
        if out and (workplace / out[1] / "training.json").exists():
            continue  # the guide's short way, and the same run again with its explanation
        run(command)
    assert (workplace / "my-milder-encoder" / "model.safetensors").exists()
    assert list((workplace / "plots").glob("*.svg"))
