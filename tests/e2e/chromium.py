"""The browser that the tests drive: the system's Chromium, or Chrome."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from fasteners import InterProcessLock

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = (
    "the tests of the page need a browser, and there is none: install Chromium (Debian: apt-get install"
    " chromium; Fedora: dnf install chromium) or Google Chrome, so that one of these is on the path: "
)
ARGUMENTS = (
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-sync",
)


@cache
def chromium() -> str:
    """Return the path of the system's browser; root on Debian gets the package installed.

    Raises:
        RuntimeError: there is none, and none can be installed; the message says what to do.
    """
    with InterProcessLock(Path(tempfile.gettempdir()) / f"image-retrieval-chromium-{os.getuid()}.lock"):
        found = _on_the_path()
        if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
            _install()
            found = _on_the_path()
    if found is None:
        raise RuntimeError(HOW + ", ".join(NAMES))
    return found


def _on_the_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install() -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{HOW}{', '.join(NAMES)}. Installing it here failed:\n{done.stderr}")
