"""Look every pinned package up among the known vulnerabilities; fail if one is found.

    python .ci/audit.py

Advisories come over the network. Where they cannot be had this says so and passes, for a machine without a
network is no finding; GitHub shows it as a warning. pip-audit itself says "no known vulnerabilities" of
packages that it could not look up, so what was looked up is counted here.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PASSED_OVER: dict[str, str] = {}
"""Advisories that do not touch us: the id, and why."""
WITHIN_S = 300


def audit(requirements: Path) -> tuple[list[dict[str, Any]], str]:
    """Return pip-audit's report, a package each, and what it said besides; no packages: it had no report."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip",
        "--format", "json", "--progress-spinner", "off", "--timeout", "15",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return [], f"no answer within {WITHIN_S} s"
    try:
        return json.loads(done.stdout)["dependencies"], done.stderr
    except (ValueError, KeyError):
        return [], done.stderr


def verdict(packages: Sequence[dict[str, Any]], said: str) -> tuple[list[str], int]:
    """Return what to tell, and the exit code: 1 where a vulnerability is known."""
    found = [
        f"{package['name']} {package['version']}: {known['id']}"
        f" (mended in {', '.join(known.get('fix_versions', [])) or 'no version yet'})"
        for package in packages
        for known in package.get("vulns", [])
        if known["id"] not in PASSED_OVER
    ]
    if found:
        return ["known vulnerabilities:", *found], 1
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    looked_up = len(packages) - len(skipped)
    if not looked_up:
        reasons = [package["skip_reason"] for package in packages] or said.strip().splitlines()[-1:]
        why = "; ".join(reasons[:1]) or "no answer"
        return [f"::warning::the advisories could not be had, so nothing was looked up: {why}"], 0
    if skipped:
        names = ", ".join(skipped)
        return [f"::warning::{looked_up} packages have no known vulnerability; not looked up: {names}"], 0
    return [f"none of {looked_up} packages has a known vulnerability"], 0


if __name__ == "__main__":
    lines, code = verdict(*audit(ROOT / "constraints.txt"))
    print("\n".join(lines))
    sys.exit(code)
