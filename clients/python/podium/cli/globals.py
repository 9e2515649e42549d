"""The options every command knows, before or after the command's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import click

_LOCAL = ("init", "up", "down", "coordinator", "agent ", "completion", "version")

Command = TypeVar("Command", bound=Callable[..., Any])


class Output(StrEnum):
    """How a command's answer is written on stdout."""

    TABLE = "table"
    JSON = "json"
    NAME = "name"


def _color_from_environment() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


@dataclass(slots=True)
class Globals:
    """What the global options say. `color` None: by whether the stream is a terminal."""

    address: str | None = None
    output: Output = Output.TABLE
    color: bool | None = field(default_factory=_color_from_environment)
    quiet: bool = False

    def as_typed(self, command: str) -> str:
        """Return a `podium` command as it must be typed to reach the same coordinator."""
        podium, _, rest = command.partition(" ")
        if self.address is None or podium != "podium" or rest.startswith(_LOCAL):
            return command
        return f"{podium} --address {self.address} {rest}"


pass_globals = click.make_pass_decorator(Globals, ensure=True)


def _set_address(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Globals).address = value


def _set_output(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Globals).output = Output(value)


def _set_no_color(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    settings = ctx.ensure_object(Globals)
    if value:
        settings.color = False
    ctx.color = settings.color


def _set_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Globals).quiet = True


_ADDRESS = click.option(
    "--address",
    metavar="HOST:PORT",
    expose_value=False,
    callback=_set_address,
    help="Where the coordinator answers. [env: PODIUM_ADDRESS; default: 127.0.0.1:7450]",
)
_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice([str(choice) for choice in Output]),
    expose_value=False,
    callback=_set_output,
    help="How to write the answer on stdout. [default: table]",
)
_NO_COLOR = click.option(
    "--no-color",
    is_flag=True,
    expose_value=False,
    callback=_set_no_color,
    help="Write without colours. [env: NO_COLOR]",
)
_QUIET = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_quiet,
    help="Write no progress and no advice on stderr.",
)


def local_options(command: Command) -> Command:
    """Add the global options of a command that asks no coordinator."""
    for option in (_QUIET, _NO_COLOR):
        command = option(command)
    return command


def global_options(command: Command) -> Command:
    """Add the global options of a command that asks a coordinator."""
    command = local_options(command)
    for option in (_OUTPUT, _ADDRESS):
        command = option(command)
    return command
