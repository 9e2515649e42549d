"""`podium agents`."""

from __future__ import annotations

import click

from podium.cli.connection import connected
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
    with connected(settings) as client:
        found = list(client.list_agents())
    show_list(settings, found, shown.table, name=lambda agent: agent.name)


@agents.command()
@click.argument("name", metavar="AGENT")
@global_options
@pass_globals
def show(settings: Globals, name: str) -> None:
    """Show one agent: its host, what it offers and what is in use."""
    with connected(settings) as client:
        agent = client.get_agent(name)
    show_one(settings, agent, shown.details, name=lambda agent: agent.name)
