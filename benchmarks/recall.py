"""R@1/5/10 through the running service and its HNSW index, beside the exact figure computed offline.

    python -m benchmarks.recall --model CHECKPOINT --images FOLDER --captions FILE --split FILE

By the field's convention: every caption of every photo in the split asks, and only those photos answer. The two must
agree within 0.2 points; if not, the service is at fault, not the model.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from app.evaluating import EvaluationRequest, run_evaluation
from app.progress import NoProgress
from app.running_service import AT_ONCE
from app.settings import Settings

RECALLS = ("recall_at_1", "recall_at_5", "recall_at_10")


def main() -> None:
    """Index the split's photos in a temporary data folder, ask, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="a file name a line")
    arguments = parser.parse_args()

    names = arguments.split.read_text().split()
    request = partial(EvaluationRequest, captions=arguments.captions, split=str(arguments.split), samples=100)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for name in names:
            (photos / name).write_bytes((arguments.images / name).read_bytes())
        environment = os.environ | {"IMAGE_RETRIEVAL_DATA_DIR": str(Path(folder) / "data")}
        program = [sys.executable, "-m", "app.cli"]
        subprocess.run(
            [*program, "index", photos, "--captions", arguments.captions, "--model", arguments.model],
            env=environment,
            check=True,
        )
        server = subprocess.Popen(
            [*program, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = next(
                found[0] for line in server.stdout if (found := re.search(r"http://[\w.:]+", line))
            )
            started = time.perf_counter()
            asked = request(through="api", url=address, images=photos)
            served = run_evaluation(asked, Settings(), NoProgress())
            seconds = time.perf_counter() - started
        finally:
            server.terminate()
            server.wait()

    exact = run_evaluation(request(model=arguments.model, images=arguments.images), Settings(), NoProgress())
    print(f"{'':24}{'R@1':>8}{'R@5':>8}{'R@10':>8}")
    figures = [found.estimates["text_to_image",] for found in (exact, served)]
    for label, found in zip(("exact, offline", "API with HNSW index"), figures, strict=True):
        print(f"{label:24}" + "".join(f"{found[name].value:8.2f}" for name in RECALLS))
    worst = max(abs(figures[0][name].value - figures[1][name].value) for name in RECALLS)
    questions = served.ours.measured["text_to_image",].questions
    print(
        f"largest difference {worst:.2f} points (limit 0.2);"
        f" {questions / seconds:.0f} questions/s, {AT_ONCE} at once, the gallery's listing included"
    )


if __name__ == "__main__":
    main()
