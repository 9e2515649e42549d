"""The servers this command line starts, and the flags made from their settings."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from podium.errors import PodiumError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class MissingExtraError(PodiumError):
    """A part of Podium is not installed."""

    reason = "MISSING_EXTRA"


@dataclass(frozen=True, slots=True)
class Program:
    """A server: its extra, the class of its settings and its main function, as "module:name".

    The main function takes the flags that were given, by the setting's name, and returns an exit code.
    """

    extra: str
    settings: str
    main: str

    def load_settings(self) -> Any:
        """Return the settings class.

        Raises:
            MissingExtraError: A library it needs is not installed.
        """
        return self._load(self.settings)

    def load_main(self) -> Callable[[Mapping[str, Any]], int]:
        """Return the main function; raises as `load_settings` does."""
        main: Callable[[Mapping[str, Any]], int] = self._load(self.main)
        return main

    def _load(self, place: str) -> Any:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] in {"podium", "podium_coordinator", "podium_agent"}:
                raise
            message = f"The {self.extra} needs the library {error.name!r}, which is not installed."
            raise MissingExtraError(message, extra=self.extra, library=str(error.name)) from None


COORDINATOR = Program(
    "coordinator", "podium_coordinator.settings:CoordinatorSettings", "podium_coordinator.app.main:main"
)
AGENT = Program("agent", "podium_agent.settings:AgentSettings", "podium_agent.main:main")


def flags(settings: Any) -> list[click.Parameter]:
    """Return one option per field of a settings class, in the order of the class; a field that is not given is None."""
    return [_flag(name, field) for name, field in settings.model_fields.items()]


def _flag(name: str, field: FieldInfo) -> click.Option:
    spelled = "--" + name.replace("_", "-")
    if _kind(field.annotation) is bool:
        return click.Option([f"{spelled}/--no-{spelled[2:]}", name], default=None, help=field.description)
    return click.Option([spelled, name], metavar=_metavar(field.annotation), default=None, help=field.description)


def _kind(annotation: Any) -> Any:
    """Return the one type an annotation admits besides None."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        admitted = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return _kind(admitted[0]) if len(admitted) == 1 else None
    return annotation


_METAVARS = {"Path": "PATH", "float": "SECONDS", "int": "N", "ByteSize": "SIZE", "list": "LIST", "dict": "LIST"}


def _metavar(annotation: Any) -> str:
    kind = _kind(annotation)
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, typing.get_args(kind)))
    return _METAVARS.get(getattr(typing.get_origin(kind) or kind, "__name__", ""), "TEXT")
