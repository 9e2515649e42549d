"""Writes answers on stdout and words about them on stderr; nothing else in the command line writes."""

from __future__ import annotations

import json
from typing import Any

import click

from podium.cli.globals import Globals


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
        note(settings, f"{click.style('next:', dim=True)} {command}")
