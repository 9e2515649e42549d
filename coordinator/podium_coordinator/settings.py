"""The coordinator's settings. Precedence: flag, environment, secret file, settings file, default.

A setting `lease` is the environment variable `PODIUM_COORDINATOR__LEASE`, and the key `lease` of the table
`[coordinator]` in a TOML file. The file is the one `config` names, else `podium.toml` in the user's configuration
folder, else `/etc/podium/podium.toml`, if there is one. Times are in seconds; sizes in bytes, or as in "64MiB".
`docs/settings-coordinator.md` is made from this module.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import platformdirs
from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from podium.errors import FieldViolation, InvalidSettingError
from podium_coordinator.structured_logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

ENV_PREFIX: Final = "PODIUM_COORDINATOR__"
TABLE: Final = "coordinator"
SECRETS: Final = ("database_url",)

Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
MIB: Final = 1 << 20


def default_data_dir() -> Path:
    """Return `$XDG_DATA_HOME/podium`; without the variable, root's is `/var/lib/podium`."""
    if os.geteuid() == 0 and not os.environ.get("XDG_DATA_HOME"):
        return Path("/var/lib/podium")
    return platformdirs.user_data_path("podium")


def default_config() -> Path | None:
    """Return the first settings file there is in the usual places, or None."""
    places = (platformdirs.user_config_path("podium") / "podium.toml", Path("/etc/podium/podium.toml"))
    return next((place for place in places if place.is_file()), None)


class CoordinatorSettings(BaseSettings):
    """Everything about a coordinator that an operator may set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True, env_ignore_empty=True
    )

    config: Path | None = Field(None, description="TOML file to read settings from, out of its table [coordinator].")
    listen: Annotated[list[str], NoDecode] = Field(
        ["127.0.0.1:7450"],
        min_length=1,
        description='Addresses to serve gRPC on, comma-separated: "host:port" (port 0: a free one) or "unix:/path".',
    )
    insecure_listen: bool = Field(
        False,
        description="Allow addresses other hosts can reach. There is no authentication yet: whoever reaches the port"
        " can run any program on every agent.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder for the embedded Postgres, blobs and logs of running attempts; made with mode 0700."
        " Default: $XDG_DATA_HOME/podium; for root /var/lib/podium.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="postgresql:// URL of the database. Unset: an embedded Postgres in the data folder."
        " With _FILE at the end of its name, the variable or key names a file that holds it.",
    )
    postgres_bin: Path | None = Field(
        None, description="Folder of Postgres's programs, for the embedded one. Unset: found by itself."
    )
    read_pool_size: int = Field(4, ge=1, le=100, description="Database connections for reads by the API.")
    write_pool_size: int = Field(2, ge=1, le=100, description="Database connections for rows the API writes.")
    lease: Seconds = Field(10.0, description="How long the ownership of a shard holds without being renewed.")
    heartbeat_interval: Seconds = Field(3.0, description="How often agents and coordinator send a heartbeat at least.")
    disconnected_after: Seconds = Field(10.0, description="Silence after which an agent gets no new work.")
    lost_after: Seconds = Field(30.0, description="Silence after which an agent's attempts may be tried elsewhere.")
    blob_store: str = Field(
        "",
        description='Where blobs are kept: empty for the data folder, else a URL such as "s3://bucket/prefix",'
        ' "gs://...", "az://..." or "file:///path". Keys come from the provider\'s own variables'
        " (AWS_..., GOOGLE_..., AZURE_...).",
    )
    max_blob_bytes: ByteSize = Field(ByteSize(2048 * MIB), gt=0, description="Largest blob that is taken.")
    blob_grace: Seconds = Field(
        3600.0, ge=3600, description="How long a blob nothing refers to is kept after it was stored or asked about."
    )
    blob_collection_interval: Seconds = Field(3600.0, description="How often blobs that nothing refers to are deleted.")
    max_outputs_bytes: ByteSize = Field(
        ByteSize(16 * MIB), gt=0, description="Most bytes of outputs in one answer of GetOutputs."
    )
    max_log_bytes: ByteSize = Field(
        ByteSize(4 * MIB),
        ge=64 * 1024,
        description="Most bytes kept of one attempt's log; agents are to keep below it.",
    )
    max_message_bytes: ByteSize = Field(
        ByteSize(64 * MIB), ge=4 * MIB, le=1024 * MIB, description="Largest gRPC message, in and out."
    )
    call_timeout: Seconds = Field(60.0, description="Longest that a call with one request and one answer may take.")
    drain_timeout: Seconds = Field(20.0, description="How long calls under way may take to end when stopping.")
    traced_task_runs: int = Field(
        100,
        ge=0,
        description="Task runs a second that traces tell in detail, when they are exported at all; beyond that only"
        " those that failed, were tried again or took over a second.",
    )
    log_format: LogFormat = Field(
        "console", description="Form of the coordinator's own log on stderr: console or json."
    )
    log_level: LogLevel = Field("info", description="Least level that is logged: debug, info, warning or error.")

    @field_validator("listen", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("config", "data_dir", "postgres_bin")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.disconnected_after < 3 * self.heartbeat_interval:
            message = "disconnected_after must be at least three times heartbeat_interval, or live agents are given up"
            raise ValueError(message)
        if self.lost_after <= self.disconnected_after:
            message = "lost_after must be more than disconnected_after"
            raise ValueError(message)
        return self

    @property
    def blob_dir(self) -> Path:
        """Where blobs are kept when no blob store is named."""
        return self.data_dir / "blobs"

    @property
    def log_dir(self) -> Path:
        """Where logs of running attempts are appended."""
        return self.data_dir / "logs"

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Self:
        """Read the settings; `flags` are those given on the command line, by name, None where not given.

        Raises:
            InvalidSettingError: A value cannot be used, a name is not known, or a file cannot be read.
        """
        _refuse_unknown_variables(cls)
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise _told(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags before the environment before secret files before the settings file."""
        return init_settings, env_settings, _SecretFiles(settings_cls), _SettingsFile(settings_cls)


class _Source(PydanticBaseSettingsSource):
    """A source that answers for all fields at once."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return None, field_name, False


class _SecretFiles(_Source):
    """Reads a secret from the file that `PODIUM_COORDINATOR__<NAME>_FILE` names."""

    def __call__(self) -> dict[str, Any]:
        named = {name: os.environ.get(f"{ENV_PREFIX}{name.upper()}_FILE") for name in SECRETS}
        return {name: _read_secret(name, path) for name, path in named.items() if path}


class _SettingsFile(_Source):
    """Reads the table [coordinator] of the settings file."""

    def __call__(self) -> dict[str, Any]:
        asked = self.current_state.get("config")
        path = Path(asked) if asked else default_config()
        if path is None:
            return {}
        table = _read_table(path)
        for name in SECRETS:
            secret = table.pop(f"{name}_file", None)
            if secret is not None:
                table.setdefault(name, _read_secret(name, secret))
        return table


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8")).get(TABLE, {})
    except (OSError, ValueError) as error:
        raise _invalid("config", f"{path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise _invalid("config", f"{path}: [{TABLE}] must be a table")
    return table


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise _invalid(f"{name}_file", f"{path} cannot be read: {error}") from error


def _refuse_unknown_variables(settings: type[BaseSettings]) -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in settings.model_fields}
    known |= {f"{ENV_PREFIX}{name.upper()}_FILE" for name in SECRETS}
    for variable in sorted(os.environ):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _invalid(variable, f"no such setting{hint}")


def _invalid(field: str, description: str) -> InvalidSettingError:
    return InvalidSettingError(f"{field}: {description}", (FieldViolation(field, description),), setting=field)


def _told(error: ValidationError) -> InvalidSettingError:
    violations = tuple(
        FieldViolation(".".join(map(str, problem["loc"])) or TABLE, problem["msg"].removeprefix("Value error, "))
        for problem in error.errors(include_input=False, include_url=False)
    )
    lines = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidSettingError(f"The settings cannot be used: {lines}.", violations, setting=violations[0].field)


def reference() -> str:
    """Return the page that documents every setting, in Markdown."""
    rows = [_row(name, field) for name, field in CoordinatorSettings.model_fields.items()]
    return "\n".join((_INTRODUCTION, "| setting | default | meaning |", "|---|---|---|", *rows, ""))


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    match field.default:
        case ByteSize() as size:
            return f"`{size.human_readable(separator='').replace('.0', '')}`"
        case list() as items:
            return f"`{','.join(items)}`"
        case bool() as flag:
            return f"`{str(flag).lower()}`"
        case int() | float() as number:
            return f"`{number:g}`"
        case str() as text if text:
            return f"`{text}`"
        case _:
            return ""


_INTRODUCTION: Final = f"""# Settings of the coordinator

This page is made from `podium_coordinator/settings.py`; a test fails when it is out of date
(`python -m podium_coordinator.settings > docs/settings-coordinator.md` renews it).

Each setting can be given in four ways. The first one found counts:

1. a flag of `podium coordinator`: `--lease 5`;
2. an environment variable: `{ENV_PREFIX}LEASE=5`;
3. for secrets, a file named by an environment variable: `{ENV_PREFIX}DATABASE_URL_FILE=/run/secrets/database`;
4. a TOML file, in the table `[{TABLE}]`: `lease = 5`. The file is the one that `config` names, else
   `$XDG_CONFIG_HOME/podium/podium.toml`, else `/etc/podium/podium.toml`.

A name that is not known is an error, wherever it stands. Times are in seconds, sizes in bytes or with a unit ("64MiB").
Tracing is set by the standard `OTEL_*` variables.
"""

if __name__ == "__main__":
    import sys

    sys.stdout.write(reference())
