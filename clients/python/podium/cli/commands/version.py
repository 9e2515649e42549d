"""`podium version`."""

from __future__ import annotations

import click

from podium.cli import printing
from podium.cli.globals import Globals, Output, global_options, pass_globals
from podium.version import __version__


@click.command()
@global_options
@pass_globals
def version(settings: Globals) -> None:
    """Print the version of this command."""
    if settings.output is Output.JSON:
        printing.answer_json({"version": __version__})
    else:
        printing.answer(__version__)
