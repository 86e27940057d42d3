"""`image-retrieval encoders …` as whoever runs a gallery meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.app.conftest import COLOURS
from tests.app.test_cli import checkpoint, environment
from tests.encoders import tiny_clip

__all__ = ["checkpoint", "environment"]


def run(environment: dict[str, str], *arguments: object) -> Result:
    """In this process: the program's start would be most of the time."""
    return CliRunner().invoke(main, list(map(str, arguments)), env=environment)


@pytest.fixture(scope="module")
def successor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "successor", seed=1, dimension=32)


def test_a_gallery_changes_its_model_and_goes_back(
    environment: dict[str, str], folder: Path, checkpoint: Path, successor: Path, tmp_path: Path
) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("image,caption\n" + "".join(f"{colour}.png,all {colour}\n" for colour in COLOURS))
    indexed = run(environment, "index", folder, "--captions", captions, "--model", checkpoint)
    assert indexed.exit_code == 0, indexed.output

    added = run(environment, "encoders", "add", successor)
    assert (added.exit_code, added.stderr) == (0, "")
    assert "encoders fill successor" in added.stdout
    early = run(environment, "encoders", "activate", "successor", "--notice", "0")
    assert early.exit_code == 2
    assert "8 pictures lack this encoder's vectors" in early.stderr
    filled = run(environment, "encoders", "fill", "successor")
    assert filled.exit_code == 0, filled.stderr
    assert "successor: filled 8, failed 0" in filled.stdout
    compared = run(environment, "encoders", "evaluate", "successor", "--json")
    assert compared.exit_code == 0, compared.stderr
    assert json.loads(compared.stdout)["captions"] == len(COLOURS)

    switched = run(environment, "encoders", "activate", "successor", "--notice", "0")
    assert switched.exit_code == 0, switched.stderr
    assert "successor is active" in switched.stdout
    found = run(environment, "search", "all red", "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["query"]["encoder"]["dimension"] == 32

    back = run(environment, "encoders", "rollback", "--notice", "0")
    assert "tiny is active" in back.stdout
    refused = run(environment, "encoders", "drop", "tiny", "--yes")
    assert refused.exit_code == 2
    assert "tiny is the active encoder; activate another first" in refused.stderr
    dropped = run(environment, "encoders", "drop", "successor", "--yes")
    assert "dropped successor and 8 vectors" in dropped.stdout
    unknown = run(environment, "encoders", "fill", "successor")
    assert unknown.exit_code == 2
    assert "the gallery has no encoder 'successor'; it has: tiny" in unknown.stderr
