"""The servers this command line starts, and the flags made from their settings."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podium.errors import PodiumError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class MissingExtraError(PodiumError):
    """A part of Podium is not installed."""

    reason = "MISSING_EXTRA"


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Name the extra to install when an import in the block finds no library."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if library in {"podium", "podium_coordinator", "podium_agent"}:
            raise
        message = f"The {extra} needs the library {library!r}, which is not installed."
        raise MissingExtraError(message, extra=extra, library=library) from None


class Program:
    """A server that this command line starts. Every method raises MissingExtraError when a library is missing."""

    extra: str

    def options(self) -> list[click.Parameter]:
        """Return one option for each setting."""
        raise NotImplementedError

    def serve(self, given: dict[str, Any]) -> int:
        """Run until told to stop, with the settings given by name; return the exit code."""
        raise NotImplementedError


class Coordinator(Program):
    """The coordinator."""

    extra = "coordinator"

    def options(self) -> list[click.Parameter]:
        """Return one option for each setting."""
        with _needing(self.extra):
            from podium_coordinator.settings import CoordinatorSettings
        return _flags(CoordinatorSettings.model_fields)

    def serve(self, given: dict[str, Any]) -> int:
        """Run until told to stop; return the exit code."""
        with _needing(self.extra):
            from podium_coordinator.app.main import main
            from podium_coordinator.settings import CoordinatorSettings
        CoordinatorSettings.load(given)  # raises here what `main` could only print
        return main(given)

    def default_data_dir(self) -> Path:
        """Return the folder that is used when none is named."""
        with _needing(self.extra):
            from podium_coordinator.settings import default_data_dir
        return default_data_dir()


class Agent(Program):
    """The agent."""

    extra = "agent"

    def options(self) -> list[click.Parameter]:
        """Return one option for each setting, and one for the file they are read from."""
        with _needing(self.extra):
            from podium_agent.settings import AgentSettings
        return [_CONFIG, *_flags(AgentSettings.model_fields)]

    def serve(self, given: dict[str, Any]) -> int:
        """Become the agent: this process is replaced."""
        with _needing(self.extra):
            from podium_agent.main import run_agent
            from podium_agent.settings import load_settings
        run_agent(load_settings(given, given.pop("config", None)))


COORDINATOR = Coordinator()
AGENT = Agent()

_CONFIG = click.Option(
    ["--config"],
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="TOML file to read settings from, out of its table [agent].",
)


def _flags(fields: Mapping[str, FieldInfo]) -> list[click.Parameter]:
    return [_flag(name, field) for name, field in fields.items()]


def _flag(name: str, field: FieldInfo) -> click.Option:
    spelled = "--" + name.replace("_", "-")
    text = " ".join([field.description or "", _default(field)]).strip()
    if _kind(field.annotation) is bool:
        return click.Option([f"{spelled}/--no-{spelled[2:]}", name], default=None, help=text)
    return click.Option([spelled, name], metavar=_metavar(field.annotation), default=None, help=text)


def _default(field: FieldInfo) -> str:
    default = field.default
    if hasattr(default, "human_readable"):
        return f"[default: {default.human_readable(separator='').replace('.0', '')}]"
    if isinstance(default, list):
        default = ",".join(default)
    if isinstance(default, bool) or not isinstance(default, str | int | float) or default == "":
        return ""
    return f"[default: {default}]"


def _kind(annotation: Any) -> Any:
    """Return the one type an annotation admits besides None."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        admitted = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return _kind(admitted[0]) if len(admitted) == 1 else None
    return annotation


_METAVARS = {"Path": "PATH", "float": "NUMBER", "int": "N", "ByteSize": "SIZE", "list": "LIST", "dict": "LIST"}


def _metavar(annotation: Any) -> str:
    kind = _kind(annotation)
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, typing.get_args(kind)))
    return _METAVARS.get(getattr(typing.get_origin(kind) or kind, "__name__", ""), "TEXT")
