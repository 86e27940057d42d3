"""Whatever is done to a picture file, it is decoded or refused: libFuzzer mutates, by way of atheris."""

import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def mutate(runs: int, seed: int, folder: Path) -> None:
    """Decode so many mutated files in a process of its own, which libFuzzer ends at the first finding.

    By way of a shell: a process begins with the peak of memory of the one that it was forked from, and
    libFuzzer would hold that of all tests before against the decoder.
    """
    done = subprocess.run(
        [
            "sh", "-c", '"$@"; exit $?', "sh",
            sys.executable, "-m", "tests.fuzzing.decoding", str(folder / "corpus"),
            f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={folder}/found-",
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:]
    told = re.search(r"^Done (\d+) runs", done.stdout, flags=re.MULTILINE)
    assert told is not None, done.stdout[-10_000:]
    assert int(told[1]) >= runs
    assert list(folder.glob("found-*")) == []


def test_mutated_pictures_are_decoded_or_refused_within_bounds(tmp_path: Path) -> None:
    mutate(3000, 1, tmp_path)


@pytest.mark.fuzz
def test_a_hundred_thousand_mutated_pictures_are_decoded_or_refused_within_bounds(tmp_path: Path) -> None:
    mutate(100_000, 1 + secrets.randbelow(2**31), tmp_path)
