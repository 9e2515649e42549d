"""Writes answers on stdout and words about them on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from podium.cli.globals import Globals, Output
from podium.cli.show.plain import plain
from podium.cli.show.table import Table, render

T = TypeVar("T")


def answer(text: str) -> None:
    """Write lines of a command's answer."""
    click.echo(text)


def answer_json(value: Any) -> None:
    """Write a command's answer as JSON, indented, keys in the order given."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(settings: Globals, text: str) -> None:
    """Write a word about the work, unless asked to be quiet."""
    if not settings.quiet:
        click.echo(text, err=True)


def next_step(settings: Globals, *commands: str) -> None:
    """Write the commands one would type next, unless asked to be quiet."""
    for command in commands:
        note(settings, f"{click.style('next:', dim=True)} {settings.as_typed(command)}")


def show_list(
    settings: Globals,
    items: Sequence[T],
    table: Callable[[Sequence[T]], Table],
    name: Callable[[T], str],
    as_json: Callable[[T], Any] = plain,
) -> None:
    """Write a list in the form asked for: a table, an array of objects, or a name a line."""
    match settings.output:
        case Output.JSON:
            answer_json([as_json(item) for item in items])
        case Output.NAME:
            click.echo("".join(f"{name(item)}\n" for item in items), nl=False)
        case Output.TABLE:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            answer(render(table(items), width))


def show_one(
    settings: Globals,
    item: T,
    details: Callable[[T], str],
    name: Callable[[T], str],
    as_json: Callable[[T], Any] = plain,
) -> None:
    """Write one thing in the form asked for: its details, an object, or its name."""
    match settings.output:
        case Output.JSON:
            answer_json(as_json(item))
        case Output.NAME:
            answer(name(item))
        case Output.TABLE:
            answer(details(item))
