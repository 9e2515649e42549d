"""`podium agents`."""

from __future__ import annotations

import click

from podium.cli.connection import ask
from podium.cli.globals import Globals, global_options, pass_globals
from podium.cli.printing import show_list, show_one
from podium.cli.show import agents as shown


@click.group()
def agents() -> None:
    """See the agents of the cluster."""


@agents.command("list")
@global_options
@pass_globals
def list_(settings: Globals) -> None:
    """List all agents, by name."""
    found = ask(settings, lambda client: client.list_agents())
    show_list(settings, found, shown.table, lambda agent: agent.name)


@agents.command()
@click.argument("name", metavar="AGENT")
@global_options
@pass_globals
def show(settings: Globals, name: str) -> None:
    """Show one agent: its host, what it offers and what is in use."""
    agent = ask(settings, lambda client: client.get_agent(name))
    show_one(settings, agent, shown.details, lambda agent: agent.name)
