"""What holds the house together: names in documents and settings agree with the code."""

import re
from pathlib import Path

import pytest
import yaml

from app.errors import STATUS
from app.settings import Settings, variable_of
from db import errors as db_errors
from embedding import errors as embedding_errors
from tests.conftest import ROOT
from training import errors as training_errors

COMPOSE_ONLY = {"POSTGRES_PASSWORD", "TORCH_BACKEND", "PUBLISH", "GALLERY_DIR"}


def leaves(parent: type[Exception]) -> set[type[Exception]]:
    children = parent.__subclasses__()
    return set().union(*map(leaves, children)) if children else {parent}


@pytest.mark.parametrize("root", [db_errors.GalleryError, embedding_errors.EmbeddingError])
def test_every_error_has_an_http_status(root: type[Exception]) -> None:
    assert leaves(root) <= STATUS.keys()


@pytest.mark.parametrize(
    "root", [db_errors.GalleryError, embedding_errors.EmbeddingError, training_errors.TrainingError]
)
def test_every_error_is_in_the_tree_of_its_module(root: type[Exception]) -> None:
    import sys

    tree = sys.modules[root.__module__].__doc__ or ""
    for error in leaves(root):
        assert error.__name__ in tree


def test_env_example_lists_every_setting_and_no_other() -> None:
    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert listed == {variable_of(field) for field in Settings.__struct_fields__} | COMPOSE_ONLY


def test_env_example_shows_the_defaults() -> None:
    shown = dict(
        re.findall(r"^#(IMAGE_RETRIEVAL_\w+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    assert len(shown) > 10
    assert Settings.from_env(shown) == Settings()


def test_compose_sets_only_settings_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"]["api"]["environment"]
    assert set(environment) <= {variable_of(field) for field in Settings.__struct_fields__}
    filled = {
        name: re.sub(r"\$\{[^}]*?(:-([^}]*)|:\?[^}]*)\}", lambda found: found[2] or "", value)
        for name, value in environment.items()
    }
    settings = Settings.from_env(filled)
    assert settings.database_url is not None
    assert settings.database_url.startswith("postgresql://retrieval:")


def test_compose_waits_for_health_and_gives_the_database_shared_memory() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert services["db"]["image"].startswith("pgvector/pgvector:")
    assert services["db"]["shm_size"] == "1gb"
    assert all("healthcheck" in service for service in services.values())
    assert services["api"]["depends_on"]["db"]["condition"] == "service_healthy"
    assert any(volume.startswith("models:") for volume in services["api"]["volumes"])


def test_every_variable_of_compose_is_in_env_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert used <= listed


def test_the_image_runs_as_an_ordinary_user_and_takes_cpu_or_cuda() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER app$", dockerfile, re.MULTILINE)
    assert "ARG TORCH_BACKEND=cpu" in dockerfile
    for copied in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name


def test_no_weights_are_ever_unpickled_and_no_remote_code_is_run() -> None:
    for package in ("app", "db", "embedding", "training"):
        for file in (ROOT / package).rglob("*.py"):
            source = file.read_text()
            for danger in ("torch.load(", "pickle.load", "trust_remote_code=True"):
                assert danger not in source, f"{file}: {danger}"


def test_nothing_but_entry_points_reads_the_environment() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for package in ("app", "db", "embedding", "training", "migrations")
        for file in Path(ROOT / package).rglob("*.py")
        if "os.environ" in file.read_text() or "os.getenv" in file.read_text()
    }
    # db.programs passes the environment on to psql and its like, app.workers to the workers; db.embedded
    # lends initdb a locale: they read nothing from it
    assert readers <= {
        "app/settings.py",
        "app/cli.py",
        "app/workers.py",
        "db/embedded.py",
        "db/programs.py",
    }
