"""`image-retrieval keys …` as whoever runs a service meets it, and a real service that takes the keys."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.service import Service
from app.settings import Settings
from tests.app.conftest import picture
from tests.app.test_access import make_key
from tests.app.test_cli import _announced, checkpoint, environment, run
from tests.app.test_evaluate_command import serving, through_api
from tests.conftest import ROOT

__all__ = ["checkpoint", "environment"]

KEY = re.compile(r"irk_[0-9a-f]{8}_[0-9a-f]{64}")


def create(environment: dict[str, str], name: str, scope: str) -> str:
    made = run(environment, "keys", "create", "--name", name, "--scope", scope)
    assert made.returncode == 0, made.stderr
    assert KEY.fullmatch(made.stdout.strip())  # alone on stdout, so that it pipes
    assert "not shown again" in made.stderr
    return made.stdout.strip()


@contextmanager
def served(environment: dict[str, str], **settings: str) -> Iterator[str]:
    """A real service at an address that other machines could reach; yields where it is."""
    changed = environment | {f"IMAGE_RETRIEVAL_{name.upper()}": value for name, value in settings.items()}
    server = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--host", "0.0.0.0"],
        cwd=ROOT, env=changed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield _announced(server).replace("0.0.0.0", "127.0.0.1")
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_keys_are_made_listed_and_revoked(environment: dict[str, str]) -> None:
    nothing = run(environment, "keys", "list")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "keys create" in nothing.stderr
    keys = {scope: create(environment, f"the {scope} key", scope) for scope in ("read", "write", "admin")}
    assert len(set(keys.values())) == 3

    listed = run(environment, "keys", "list")
    assert [line.split()[1] for line in listed.stdout.splitlines()] == ["read", "write", "admin"]
    assert "never used" in listed.stdout
    for key in keys.values():
        assert key.split("_")[1] in listed.stdout  # its id
        assert key.split("_")[2] not in listed.stdout
    rows = json.loads(run(environment, "keys", "list", "--json").stdout)
    assert {"id", "name", "scope", "created_at", "last_used_at", "revoked_at"} == set(rows[0])

    by_name = run(environment, "keys", "revoke", "the read key")
    by_id = run(environment, "keys", "revoke", keys["write"].split("_")[1])
    assert (by_name.returncode, by_id.returncode) == (0, 0), by_name.stderr + by_id.stderr
    lines = run(environment, "keys", "list").stdout.splitlines()
    assert ["revoked" in line for line in lines] == [True, True, False]
    again = run(environment, "keys", "revoke", "the read key")
    assert again.returncode == 2
    assert "keys list" in again.stderr
    create(environment, "the read key", "read")  # its name is free again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--name", "x"], "--scope"),
        (["create", "--scope", "read"], "--name"),
        (["create", "--name", "x", "--scope", "root"], "root"),
        (["create", "--name", "  ", "--scope", "read"], "--name"),
        (["create", "--name", "a\nb", "--scope", "read"], "--name"),
        (["revoke", "nobody"], "nobody"),
    ],
)
def test_wrong_arguments_are_named(environment: dict[str, str], arguments: list[str], said: str) -> None:
    refused = run(environment, "keys", *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_name_is_used_once(environment: dict[str, str]) -> None:
    create(environment, "phone", "read")
    again = run(environment, "keys", "create", "--name", "phone", "--scope", "write")
    assert again.returncode == 2
    assert "phone" in again.stderr


def test_a_real_service_takes_the_keys_and_drops_a_revoked_one(
    environment: dict[str, str], folder: Path, checkpoint: Path
) -> None:
    assert run(environment, "index", folder, "--model", checkpoint).returncode == 0
    reader, writer = create(environment, "reader", "read"), create(environment, "writer", "write")
    warned = run(environment | {"IMAGE_RETRIEVAL_HOST": "0.0.0.0"}, "doctor")
    assert "2 keys; uploads and deletions need one" in warned.stdout
    assert "they run in a role that can change nothing" in warned.stdout
    with served(environment, open_reads="false", rate_per_key="50") as address:

        def ask(key: str | None) -> httpx.Response:
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            return httpx.get(f"{address}/api/search", params={"text": "red"}, headers=headers)

        def upload(key: str) -> int:
            files = {"image": ("n.png", picture("navy"))}
            return httpx.post(f"{address}/api/images", files=files, headers={"x-api-key": key}).status_code

        assert ask(None).status_code == 401
        assert ask(reader).status_code == 200
        assert ask(reader).headers["ratelimit-limit"] == "50"
        assert (upload(reader), upload(writer)) == (403, 201)
        assert "last used" in run(environment, "keys", "list").stdout
        assert run(environment, "keys", "revoke", "reader").returncode == 0
        assert ask(reader).status_code == 401
        statuses = {ask(writer).status_code for _ in range(60)}
        assert statuses == {200, 429}


def test_a_service_without_any_key_says_so_before_it_refuses(environment: dict[str, str]) -> None:
    told = run(environment | {"IMAGE_RETRIEVAL_HOST": "0.0.0.0"}, "doctor")
    assert "no key that may write" in told.stdout
    assert "image-retrieval keys create" in told.stdout


async def test_evaluate_sends_its_key_to_a_service_whose_reads_are_closed(
    settings: Settings, service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = settings.replace(open_reads=False)
    key = await make_key(service, "read")
    async with serving(closed, dataclasses.replace(service, settings=closed)) as url:
        refused = await through_api(url, folder, {"red.png": ["all red"]})
        assert refused.exit_code == 2
        assert "401" in refused.stderr
        monkeypatch.setenv("IMAGE_RETRIEVAL_API_KEY", key)
        asked = await through_api(url, folder, {"red.png": ["all red"]})
        assert asked.exit_code == 0, asked.output
