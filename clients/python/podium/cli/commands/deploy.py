"""`podium deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podium.cli.connection import ask
from podium.cli.globals import Globals, Output, global_options, pass_globals
from podium.cli.printing import next_step, show_list
from podium.cli.show import plain
from podium.cli.show import workflows as shown

if TYPE_CHECKING:
    from podium import AsyncClient
    from podium.resources import WorkflowVersion


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--check", is_flag=True, help="Have everything checked, and register nothing.")
@global_options
@pass_globals
def deploy(settings: Globals, paths: tuple[Path, ...], check: bool) -> None:
    """Register workflows: of a folder with its Python code, or of a YAML or JSON file.

    A folder's code is packed, without what its .gitignore names, and uploaded. A workflow that equals its newest
    version stays as it is.
    """

    async def deploy_all(client: AsyncClient) -> list[WorkflowVersion]:
        return [version for path in paths for version in await client.deploy(path, check_only=check)]

    versions = ask(settings, deploy_all)
    show_list(settings, versions, shown.deployed, lambda workflow: workflow.name, plain.workflow)
    if versions and not check and settings.output is Output.TABLE:
        next_step(settings, f"podium run {versions[0].name}")
