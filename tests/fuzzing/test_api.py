"""Schemathesis reads the OpenAPI document and asks the service whatever it allows, and what it does not.

All of its checks, on a real service with a real database and a real, if tiny, encoder: no server error, no
status, header or body that is not documented, nothing taken that should be refused or refused that should be
taken; and sequences of requests along the document's links. It prints the seed of what it found.
"""

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fuzzing.serving import Running

FOLDER = Path(__file__).parent


def fuzz(running: Running, report: Path, *, examples: int, seed: int) -> dict[str, Any]:
    """Let Schemathesis ask about so many times for each operation and phase; return its report."""
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(FOLDER / "schemathesis.toml"),
            "run", f"{running.url}/schema/openapi.json", "--max-examples", str(examples), "--seed", str(seed),
            "--report", "json", "--report-json-path", str(report), "--no-color",
        ],
        cwd=report.parent,  # where it leaves a folder of its own
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:]
    told: dict[str, Any] = json.loads(report.read_text())
    return told


def test_a_share_of_made_up_requests_finds_nothing(running: Running, tmp_path: Path) -> None:
    report = fuzz(running, tmp_path / "report.json", examples=4, seed=1)
    require_all_was_asked(report, running)
    assert report["test_cases"]["generated"] >= 500


@pytest.mark.fuzz
def test_twenty_thousand_made_up_requests_find_nothing(running: Running, tmp_path: Path) -> None:
    cases = 0
    while cases < 20_000:
        report = fuzz(running, tmp_path / "report.json", examples=100, seed=secrets.randbelow(2**32))
        require_all_was_asked(report, running)
        cases += report["test_cases"]["generated"]
        print(f"{cases:,} cases, {report['running_time']:.0f} s, seed {report['seed']}")  # noqa: T201


def require_all_was_asked(report: dict[str, Any], running: Running) -> None:
    assert report["failures"] == []
    assert report["errors"] == []
    assert report["operations"]["tested"] == report["operations"]["total"]
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert [line for line in running.lines if "Traceback" in line or "unexpected" in line] == []
    with urllib.request.urlopen(f"{running.url}/readyz") as ready:
        assert ready.status == 200
