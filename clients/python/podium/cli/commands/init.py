"""`podium init`."""

from __future__ import annotations

from pathlib import Path

import click

from podium.cli import printing, scaffold
from podium.cli.globals import Globals, local_options, pass_globals


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@local_options
@pass_globals
def init(settings: Globals, folder: Path) -> None:
    """Write a folder with a working pipeline and its test.

    DIR is made when absent; the default is the current folder. Nothing is ever overwritten.
    """
    for path in scaffold.write(folder):
        printing.answer(str(path))
    test = "pytest" if folder == Path() else f"pytest {folder}"
    printing.next_step(settings, test, "podium up", f"podium deploy {folder}", "podium run words")
