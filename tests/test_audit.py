"""CI's look at known vulnerabilities and secrets: what is found fails, what cannot be looked up is said."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT

CLEAN = {"name": "msgspec", "version": "0.22.0", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
KNOWN = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.1"]}]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "said", "code", "told"),
    [
        ([CLEAN], "", 0, "none of 1 packages"),
        ([CLEAN, SKIPPED], "", 0, "not looked up: torch"),
        ([SKIPPED], "", 0, "::warning::the advisories could not be had.*not found on PyPI"),
        ([], "ERROR: connection refused", 0, "::warning::the advisories could not be had.*refused"),
        ([], "", 0, "::warning::the advisories could not be had"),
        ([CLEAN, KNOWN, SKIPPED], "", 1, "(?s)known vulnerabilities:.*pillow 9.0: PYSEC-1 .mended in 9.1"),
    ],
)
def test_a_vulnerability_fails_and_silence_is_said(
    audit: ModuleType, packages: list[dict[str, Any]], said: str, code: int, told: str
) -> None:
    lines, exit_code = audit.verdict(packages, said)
    assert exit_code == code
    assert re.search(told, "\n".join(lines))


def test_without_a_network_the_audit_says_so_and_passes(audit: ModuleType, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("msgspec==0.22.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        lines, code = audit.verdict(*audit.audit(requirements))
    assert code == 0
    assert "could not be had" in lines[0]


def test_every_advisory_that_is_passed_over_says_why(audit: ModuleType) -> None:
    assert all(len(why) > 20 for why in audit.PASSED_OVER.values())


def test_a_secret_in_a_file_is_found(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (harmless,) = re.findall(r"^NO_SECRET := (.+)$", makefile, re.MULTILINE)
    planted = tmp_path / "settings.py"
    for line, code in (
        ('key = "AKIA' + 'IOSFODNN7EXAMPLX"', 1),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", 1),
        ("url = 'postgresql://me:" + "hunter2@db.example/x'", 1),
        ("url = 'postgresql://me:" + "secret@db.example/x'", 0),
        ("url = 'postgresql://db.example/x'", 0),
    ):
        planted.write_text(line + "\n")
        command = [sys.executable, "-m", "detect_secrets.pre_commit_hook", "--exclude-lines", harmless]
        done = subprocess.run([*command, str(planted)], capture_output=True, text=True, check=False)
        assert done.returncode == code, (line, done.stdout, done.stderr)
