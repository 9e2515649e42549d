"""The agent's settings: flags over environment (PODIUM_AGENT__...) over a TOML file over defaults."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from platformdirs import user_data_path
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError, field_validator

from podium.errors import FieldViolation, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20


def as_list(value: Any) -> Any:
    """Read "a,b" as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def as_labels(value: Any) -> Any:
    """Read "a=b,c=d" as labels."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("labels are written name=value,name=value")
    return {name.strip(): text.strip() for name, _, text in pairs}


Bytes = Annotated[ByteSize, Field(ge=0)]


class AgentSettings(BaseModel):
    """Everything that can be set. Times in seconds, sizes in bytes (texts such as "2GiB" are read too)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    coordinators: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)] = ["127.0.0.1:7450"]
    """Addresses to try in turn, host:port each."""
    name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=128)
    """The agent's name, unique in the cluster."""
    data_dir: Path = Field(default_factory=lambda: user_data_path("podium") / "agent")
    """The agent's own folder; no other agent may use it."""
    cpu: float | None = Field(default=None, gt=0, le=1024)
    """Cores offered to tasks; None for all there are."""
    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    """Bytes of memory offered to tasks; None for 85 % of what there is."""
    labels: Annotated[dict[str, str], BeforeValidator(as_labels), Field(max_length=64)] = {}
    """What tasks may ask for."""
    grace: float = Field(default=10.0, ge=0, le=3600)
    """How long a task that is stopped may take to end by itself."""
    log_head: Bytes = ByteSize(MIB)
    """Bytes kept of the beginning of an attempt's log."""
    log_tail: Bytes = ByteSize(MIB)
    """Bytes kept of the end of an attempt's log, when it is longer than its head."""
    cache_size: Bytes = ByteSize(2 << 30)
    """Bytes of blobs kept for the next task that wants them."""
    largest_output: Bytes = ByteSize(64 * MIB)
    """Bytes of JSON a task may return at most."""
    queue_limit: int = Field(default=4096, ge=1)
    """Assignments that may wait at the agent."""
    max_workers: int | None = Field(default=None, ge=1, le=4096)
    """Worker processes at most; None for eight per core, and at least 32."""
    recycle_after: int = Field(default=20_000, ge=1)
    """Attempts after which a worker is replaced."""
    python: Path = Field(default_factory=lambda: Path(sys.executable))
    """The interpreter that executes tasks; it needs no Podium of its own."""

    @field_validator("coordinators")
    @classmethod
    def _check_addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
                raise ValueError(f"{address!r} is not host:port")
        return addresses

    @field_validator("data_dir", "python")
    @classmethod
    def _make_absolute(cls, path: Path) -> Path:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - links must stay: a venv's python is one

    def for_spawner(self, root: Path) -> dict[str, Any]:
        """Return the settings in force, as the agent's own processes read them."""
        return {
            "settings": {**self.model_dump(mode="json"), "data_dir": str(root)},
            "python": str(self.python),
            "worker": {
                "log_head": self.log_head,
                "log_tail": self.log_tail,
                "inline_output": 256 * 1024,
                "largest_output": self.largest_output,
            },
        }


def load_settings(flags: Mapping[str, Any], file: Path | None = None) -> AgentSettings:
    """Read the settings.

    Args:
        flags: Values given on the command line, by field name; None counts as not given.
        file: A TOML file whose table `[agent]` holds settings; None for no file.

    Raises:
        InvalidSettingError: A value cannot be used; `violations` says which.
    """
    from podium_agent.sources import sources  # the session, which starts often, does without what this loads

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        values = sources(file)(**given)
    except ValidationError as error:
        violations = tuple(
            FieldViolation(".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, "))
            for item in error.errors()
        )
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidSettingError(f"The agent's settings cannot be used: {text}.", violations) from error
    return AgentSettings.model_validate(values.model_dump())
