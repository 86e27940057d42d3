"""Settings: strings become typed values, and a typo is an error at once."""

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import Settings, describe


def test_values_come_from_the_environment_and_have_types() -> None:
    settings = Settings.from_env(
        {
            "DATABASE_URL": "postgresql://x/y",
            "IMAGE_RETRIEVAL_PORT": "81",
            "IMAGE_RETRIEVAL_DATA_DIR": "/srv/x",
        }
    )
    assert (settings.database_url, settings.port, settings.data_dir) == (
        "postgresql://x/y",
        81,
        Path("/srv/x"),
    )


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_env({"DATABASE_URL": "", "IMAGE_RETRIEVAL_MODEL": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGE_RETRIEVAL_PROT", "81"),
        ("IMAGE_RETRIEVAL_PORT", "many"),
        ("IMAGE_RETRIEVAL_PORT", "70000"),
        ("IMAGE_RETRIEVAL_PRECISION", "int3"),
        ("IMAGE_RETRIEVAL_DATABASE_URL", "postgresql://x/y"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: value})


def test_listing_shows_sources_and_hides_secrets() -> None:
    environment = {
        "DATABASE_URL": "postgresql://me:secret@host/db",
        "IMAGE_RETRIEVAL_WRITE_KEY": "hush",
    }
    rows = {
        name: (value, source) for name, value, source in describe(Settings.from_env(environment), environment)
    }
    assert rows["DATABASE_URL"] == ("postgresql://me@host/db", "environment")
    assert rows["IMAGE_RETRIEVAL_PORT"] == (8000, "default")
    assert "hush" not in str(rows)
    assert "secret" not in str(rows)
