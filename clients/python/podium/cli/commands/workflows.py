"""`podium workflows`."""

from __future__ import annotations

import click

from podium.cli.connection import ask
from podium.cli.globals import Globals, global_options, pass_globals
from podium.cli.printing import show_list, show_one
from podium.cli.show import plain
from podium.cli.show import workflows as shown


@click.group()
def workflows() -> None:
    """See the workflows that were deployed."""


@workflows.command("list")
@global_options
@pass_globals
def list_(settings: Globals) -> None:
    """List the newest version of each workflow, by name."""
    found = ask(settings, lambda client: client.list_workflows())
    show_list(settings, found, shown.table, lambda workflow: workflow.name, plain.workflow)


@workflows.command()
@click.argument("name", metavar="WORKFLOW")
@click.option("--version", metavar="N", type=click.IntRange(1), help="The version; the newest when it is left out.")
@global_options
@pass_globals
def show(settings: Globals, name: str, version: int | None) -> None:
    """Show one version of a workflow: its parameters and its tasks."""
    workflow = ask(settings, lambda client: client.get_workflow(name, version or 0))
    show_one(settings, workflow, shown.details, lambda workflow: workflow.name, plain.workflow)


@workflows.command()
@click.argument("name", metavar="WORKFLOW")
@global_options
@pass_globals
def versions(settings: Globals, name: str) -> None:
    """List the versions of a workflow, newest first."""
    found = ask(settings, lambda client: client.list_workflows(name))
    show_list(settings, found, shown.table, lambda workflow: str(workflow.version), plain.workflow)
