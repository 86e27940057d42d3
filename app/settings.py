"""Every setting: its environment name, its default, its one-line meaning.

Only entry points (app.cli, app.main, migrations/env.py) read the environment; all else takes arguments.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta, Struct

from app.errors import SettingsError
from app.logs import LogFormat, LogLevel

PREFIX = "IMAGE_RETRIEVAL_"
LISTS = ("allowed_hosts", "allowed_origins")
SECRETS = ("write_key", "api_key")
ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?", flags=re.ASCII)


def default_data_dir() -> Path:
    """Return the per-user data folder.

    Root gets a system folder: the embedded PostgreSQL never runs as root, and letting its own user pass
    through /root would open root's home to everyone.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/image-retrieval")
    return platformdirs.user_data_path("image-retrieval", appauthor=False)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field a variable: IMAGE_RETRIEVAL_<FIELD>, except DATABASE_URL, named as everyone has it."""

    database_url: str | None = None
    """PostgreSQL to use, as a libpq URL; unset means the embedded one in the data folder."""
    read_database_url: str | None = None
    """The same for searches: a login that may only read, or a replica; unset: DATABASE_URL, less rights."""
    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    """Folder of the embedded database, the uploads, the thumbnails, and encoders in OpenVINO's form."""
    model: str | None = None
    """Encoder, a hub name or a folder; unset: the gallery's own, else openai/clip-vit-base-patch32."""
    engine: Literal["auto", "torch", "openvino"] = "auto"
    """What computes the encoder; auto takes OpenVINO (extra "openvino") on a processor, where installed."""
    device: str = "auto"
    """Where the encoder runs: auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the encoder; auto takes bfloat16 where the processor has it and it pays."""
    host: str = "127.0.0.1"
    """Address that `serve` listens on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port that `serve` listens on; 0 takes a free one."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that serve, each with an encoder of its own."""
    write_key: str | None = None
    """A key that may write, beside those of `image-retrieval keys`; once set, this machine needs one too."""
    open_reads: bool = True
    """Whether anyone may ask questions and look at pictures; false: only with a key."""
    loopback_writes: bool = True
    """Whether this machine may write without a key while `host` is a loopback address; false for a proxy."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that the service goes by, comma-separated; unset: any, and at a loopback host this machine's."""
    allowed_origins: tuple[str, ...] = ()
    """Pages of other sites that may ask, comma-separated: https://example.org (CORS); unset: none."""
    rate_per_address: Annotated[int, Meta(ge=0)] | None = None
    """Requests a minute from one address without a key; 0: any; unset: 1200, and any at a loopback host."""
    rate_per_key: Annotated[int, Meta(ge=0)] | None = None
    """Requests a minute with one key; 0: any; unset: 6000, and any at a loopback host."""
    api_key: str | None = None
    """Key that this program itself sends to a running service (`evaluate --through api`)."""
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Most database connections that questions hold at once."""
    write_pool_size: Annotated[int, Meta(ge=1, le=1000)] = 4
    """Most database connections that uploads, deletions and looks at keys hold at once."""
    pool_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """Seconds that a request waits for a connection before a 503."""
    statement_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds after which PostgreSQL gives up on one of the service's statements."""
    max_queued: Annotated[int, Meta(ge=1)] = 256
    """Questions that may wait for the encoder before a 503."""
    max_batch: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Most texts or pictures that share a forward pass; 1 turns batching off."""
    text_cache_size: Annotated[int, Meta(ge=0)] = 10_000
    """Embeddings of texts that are kept for when they are asked again; 0 keeps none."""
    max_in_flight: Annotated[int, Meta(ge=1)] = 256
    """Requests worked on at once; one more gets a 503."""
    deadline_s: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds of work that a request may take before a 504."""
    drain_s: Annotated[float, Meta(ge=0)] = 1.0
    """Seconds after SIGTERM in which /readyz answers 503 and the service still takes requests."""
    finish_s: Annotated[int, Meta(ge=0)] = 10
    """Seconds that requests under way then have to end."""
    max_upload_bytes: Annotated[int, Meta(ge=1024)] = 20_000_000
    """Largest request body accepted."""
    max_pixels: Annotated[int, Meta(ge=1)] = 50_000_000
    """Largest picture decoded, in pixels, read from its header."""
    max_k: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    """Most hits a question may ask for."""
    max_text_chars: Annotated[int, Meta(ge=1)] = 8000
    """Longest question in characters."""
    reranker: str | None = None
    """A function of one's own that reorders a page's hits, as package.module:function (docs/ranking.md)."""
    recall_sample: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Share of the questions whose answer is checked against an exact search, for /metrics."""
    tracing: bool = False
    """Whether to send traces by OpenTelemetry (extra "tracing"); its own OTEL_… variables say where to."""
    log_format: LogFormat = "text"
    """Form of the service's log lines on stderr: text, or json for one object a line."""
    log_level: LogLevel = "info"
    """What `serve` logs: debug, info (a line for each request), warning, error."""
    remember_texts: Annotated[int, Meta(ge=0)] = 10_000
    """Texts that were asked last and are kept in the database, for search_text in SQL; 0 keeps none."""
    log_questions: bool = False
    """Whether a request's log line holds the words that were asked."""

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the environment; an empty value counts as unset.

        Raises:
            SettingsError: a value of the wrong type or range, or a variable of ours that names nothing.
        """
        environment = os.environ if environment is None else environment
        found: dict[str, str | list[str]] = {}
        for name, value in environment.items():
            if name.startswith(PREFIX) and value:
                field = name.removeprefix(PREFIX).lower()
                found[field] = _listed(value) if field in LISTS else value
        if "database_url" in found:
            raise SettingsError(
                f"{PREFIX}DATABASE_URL is not a setting; the database is named by DATABASE_URL"
            )
        if environment.get("DATABASE_URL"):
            found["database_url"] = environment["DATABASE_URL"]
        unknown = sorted(found.keys() - set(cls.__struct_fields__))
        if unknown:
            names = ", ".join(PREFIX + name.upper() for name in unknown)
            known = ", ".join(variable_of(name) for name in cls.__struct_fields__)
            raise SettingsError(f"no such setting: {names}. The settings are {known}")
        try:
            settings = msgspec.convert(found, cls, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{_variable_in(str(error))}: {error}") from error
        for origin in settings.allowed_origins:
            if not ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"{variable_of('allowed_origins')}: {origin!r} is no origin such as https://example.org;"
                    " each is listed by name, for * would open the gallery to every page that anybody visits"
                )
        return settings

    def replace(self, **changes: object) -> Self:
        """Return a copy with these fields changed; None leaves a field as it is."""
        return msgspec.structs.replace(
            self, **{name: value for name, value in changes.items() if value is not None}
        )


def variable_of(field: str) -> str:
    """Return the environment name of a field."""
    return "DATABASE_URL" if field == "database_url" else PREFIX + field.upper()


def describe(settings: Settings, environment: Mapping[str, str]) -> list[tuple[str, object, str]]:
    """Return (environment name, value, "environment" or "default") for every setting; secrets are masked."""
    rows: list[tuple[str, object, str]] = []
    for field in settings.__struct_fields__:
        value = getattr(settings, field)
        if field in SECRETS and value is not None:
            value = "(set)"
        if field in LISTS:
            value = ",".join(value)
        if field in ("database_url", "read_database_url") and value is not None:
            value = without_password(str(value))
        source = "environment" if environment.get(variable_of(field)) else "default"
        rows.append((variable_of(field), value, source))
    return rows


def without_password(url: str) -> str:
    """Return a libpq URL that may be shown: the password left out."""
    head, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{head}{separator}{credentials.partition(':')[0]}{at}{place}"


def _listed(value: str) -> list[str]:
    return [part.strip().lower().rstrip("/") for part in value.split(",") if part.strip()]


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser().absolute()
    raise NotImplementedError(kind)


def _variable_in(message: str) -> str:
    """Name the variable that a msgspec message is about ("… - at `$.port`")."""
    field = message.rpartition("`$.")[2].rstrip("`")
    return variable_of(field) if field in get_type_hints(Settings) else "settings"
