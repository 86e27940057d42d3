"""The command line as a user meets it: verbs, exit codes, JSON, and what it says when something is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.app.conftest import COLOURS, picture
from tests.conftest import ROOT
from tests.encoders import tiny_clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """What the program sees: this test's database, and a data folder of its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "DATABASE_URL": database_url,
        "IMAGE_RETRIEVAL_DATA_DIR": str(tmp_path / "data"),
        "IMAGE_RETRIEVAL_ENGINE": "torch",
    }


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_index_search_status_and_doctor(
    environment: dict[str, str], folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (folder / "broken.jpg").write_bytes(b"no picture")
    captions = tmp_path / "captions.txt"
    captions.write_text("image,caption\n" + "".join(f"{c}.png,a {c} picture, all {c}\n" for c in COLOURS))

    first = run(environment, "index", folder, "--captions", captions, "--model", checkpoint, "--json")
    assert first.returncode == 1  # one failed
    report = json.loads(first.stdout.splitlines()[-1])
    assert (report["indexed"], report["already_there"]) == (8, 0)
    assert [Path(failure["path"]).name for failure in report["failed"]] == ["broken.jpg"]
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0
    assert "\r" not in first.stderr  # no progress bar where nobody looks at it

    (folder / "broken.jpg").unlink()
    second = run(environment, "index", folder)  # the gallery's own encoder
    assert second.returncode == 0, second.stderr
    assert "indexed 0, already there 8, failed 0" in second.stdout

    found = run(environment, "search", "--image", folder / "red.png", "--text", "a red picture", "--json")
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert len(answer["hits"]) == 5
    assert answer["query"]["text_weight"] == 0.6
    assert {"rank", "id", "score", "uri", "captions", "text_score", "image_score"} <= set(answer["hits"][0])

    line = ["2: a red picture", "+", folder / "red.png", "-", "a blue picture"]
    options = ["-k", "3", "--offset", "1", "--exact", "--exclude-self", "--min-score", "-1"]
    asked = run(environment, "search", *line, *options, "--json")
    assert asked.returncode == 0, asked.stderr
    echo = json.loads(asked.stdout)["query"]
    assert [(term["kind"], term["weight"]) for term in echo["terms"]] == [
        ("text", 2), ("image", 1), ("text", -1),
    ]  # fmt: skip
    assert (echo["k"], echo["offset"], echo["exact"], echo["min_score"]) == (3, 1, True, -1)
    assert [hit["rank"] for hit in json.loads(asked.stdout)["hits"]] == [2, 3, 4]

    by_id = run(environment, "search", "--id", answer["hits"][0]["id"], "-k", "1")
    assert answer["hits"][0]["uri"] in by_id.stdout

    judged = run(environment, "judgements", "add", "scarlet", "--more", answer["hits"][0]["id"])
    assert judged.stdout == "noted: 1 that fit, 0 that do not\n", judged.stderr
    exported = run(environment, "judgements", "export", tmp_path / "judged.txt")
    assert "wrote 1 pairs" in exported.stdout, exported.stderr
    assert (tmp_path / "judged.txt").read_text() == f"image,caption\n{answer['hits'][0]['uri']},scarlet\n"

    status = json.loads(run(environment, "status", "--json").stdout)
    assert status["images"] == 8
    assert status["encoders"][0]["indexed"] is True

    doctor = run(environment, "doctor", "--json")
    findings = json.loads(doctor.stdout)
    assert doctor.returncode == 0, doctor.stdout
    assert {finding["subject"] for finding in findings} >= {"versions", "schema", "model", "files", "disk"}


def test_normalise_duplicates_and_the_better_searches(
    environment: dict[str, str], folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (folder / "red-again.png").write_bytes(picture("red", size=(80, 60)))
    captions = tmp_path / "captions.txt"
    captions.write_text("image,caption\n" + "".join(f"{c}.png,a {c} picture\n" for c in COLOURS))
    assert run(environment, "index", folder, "--captions", captions, "--model", checkpoint).returncode == 0

    normalised = run(environment, "normalise")
    assert normalised.returncode == 0, normalised.stderr
    assert "encoded 8 captions, worked out 9 biases" in normalised.stdout

    listed = run(environment, "duplicates", "--max-distance", "0.001").stdout.split()
    assert listed[:2] == ["stack", "1"]
    assert [Path(word).name for word in listed if word.endswith(".png")] == ["red-again.png", "red.png"]

    options = ("--normalise", "--fold-duplicates", "0.001", "--caption-weight", "0.5", "-k", "20", "--json")
    found = run(environment, "search", "red picture", *options)
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert (answer["query"]["normalise"], answer["query"]["fold_duplicates"]) == (True, 0.001)
    assert len(answer["hits"]) == 8
    assert sorted(len(hit["stack"]) for hit in answer["hits"]) == [0] * 7 + [1]
    assert {hit["caption_score"] for hit in answer["hits"]} > {1.0}
    assert answer["background"]["chance"] is not None


def test_another_encoder_is_refused_and_both_are_named(
    environment: dict[str, str], folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = tiny_clip(tmp_path / "other", seed=1)
    assert run(environment, "index", folder, "--model", checkpoint).returncode == 0
    indexing = run(environment, "index", folder, "--model", other)
    asking = run(environment | {"IMAGE_RETRIEVAL_MODEL": str(other)}, "search", "--text", "x")
    for refused in (indexing, asking):
        assert refused.returncode == 2
        assert str(checkpoint) in refused.stderr
        assert str(other) in refused.stderr
        assert "Traceback" not in refused.stderr
    doctor = run(environment | {"IMAGE_RETRIEVAL_MODEL": str(other)}, "doctor")
    assert doctor.returncode == 1
    assert "model" in doctor.stdout


def test_doctor_names_what_is_missing_and_how_to_mend_it(
    environment: dict[str, str], folder: Path, checkpoint: Path, database_url: str
) -> None:
    assert run(environment, "index", folder, "--model", checkpoint).returncode == 0
    (folder / "red.png").unlink()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop index image_retrieval.image_embeddings_1_hnsw")
        connection.execute(
            "delete from image_retrieval.image_embeddings where image_id in"
            " (select id from image_retrieval.images where uri = 'blue.png')"
        )
    doctor = run(environment, "doctor")
    assert doctor.returncode == 1
    assert "red.png" in doctor.stdout
    assert "build_embedding_index" in doctor.stdout
    assert "1 pictures have no vector" in doctor.stdout
    assert run(environment, "index", folder).returncode == 0
    healed = run(environment, "doctor")
    assert "no vector" not in healed.stdout
    assert "index valid" in healed.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search"], "nothing is asked"),
        (["search", "--text", "x", "-k", "0"], "k is 0"),
        (["search", "--text", "x", "--alpha", "2"], "alpha"),
        (["search", "--image", "nowhere.jpg"], "nowhere.jpg"),
        (["index", "nowhere"], "nowhere"),
        (["search", "--id", "x"], "x"),
        (["search", "a", "dog", "-"], "nothing after the last -"),
        (["search", "a dog", "--text", "x"], "add them with +"),
    ],
)
def test_wrong_arguments_are_named_without_a_traceback(
    environment: dict[str, str], arguments: list[str], said: str
) -> None:
    refused = run(environment, *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unreachable_or_unmigrated_database_is_said_plainly(
    environment: dict[str, str], empty_database: str
) -> None:
    unmigrated = run(environment | {"DATABASE_URL": empty_database}, "status")
    assert unmigrated.returncode == 2
    assert "image-retrieval migrate" in unmigrated.stderr
    migrated = run(environment | {"DATABASE_URL": empty_database}, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert run(environment | {"DATABASE_URL": empty_database}, "status").returncode == 0
    nowhere = run(environment | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "status")
    assert nowhere.returncode == 2
    assert "Traceback" not in nowhere.stderr


def test_a_model_that_is_not_there_is_said_with_the_ways_out(
    environment: dict[str, str], folder: Path
) -> None:
    refused = run(environment, "index", folder)
    assert refused.returncode == 2
    assert "openai/clip-vit-base-patch32" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_embedded_database_is_the_default_and_psql_opens_it(environment: dict[str, str]) -> None:
    del environment["DATABASE_URL"]
    status = run(environment, "status")
    assert status.returncode == 0, status.stderr
    assert environment["IMAGE_RETRIEVAL_DATA_DIR"] in status.stdout
    psql = run(environment, "psql", "--", "-Atc", "select count(*) from gallery")
    assert psql.stdout.strip() == "0", psql.stderr


def test_settings_lists_every_value_with_its_source(environment: dict[str, str]) -> None:
    listed = run(environment | {"IMAGE_RETRIEVAL_PORT": "81"}, "settings").stdout
    assert "IMAGE_RETRIEVAL_PORT=81  (environment)" in listed
    assert "IMAGE_RETRIEVAL_HOST=127.0.0.1  (default)" in listed


def test_serve_answers_over_real_http_and_ends_cleanly(
    environment: dict[str, str], folder: Path, checkpoint: Path
) -> None:
    assert run(environment, "index", folder, "--model", checkpoint).returncode == 0
    server = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = _announced(server)
        answer = httpx.get(f"{address}/api/search", params={"text": "red"}).json()
        assert len(answer["hits"]) == 5
        posted = httpx.post(f"{address}/api/images", files={"image": ("n.png", picture("navy"))})
        assert posted.status_code == 201, posted.text
        assert httpx.get(f"{address}/readyz").status_code == 200
        start = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=15) == 0
        assert time.monotonic() - start < 10
        _, errors = server.communicate()
        assert "Traceback" not in errors
    finally:
        server.kill()


def _announced(server: "subprocess.Popen[str]") -> str:
    """Wait for the line that says where the server listens."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://\S+", line):
            return found[0].removesuffix("/").rstrip(")")
    raise AssertionError(f"the server ended: {server.communicate()[1]}")


def test_commands_that_need_no_encoder_start_without_torch(environment: dict[str, str]) -> None:
    code = "import sys, app.cli; sys.exit('torch' in sys.modules)"
    done: Any = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0
