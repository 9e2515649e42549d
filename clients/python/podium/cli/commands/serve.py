"""`podium coordinator` and `podium agent`: the servers, with every setting as a flag."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.lifeline import die_with_parent
from podium.cli.programs import AGENT, COORDINATOR, Program


class ServerCommand(click.Command):
    """A command whose options are a server's settings, read only when the command is used or its help is asked for."""

    def __init__(self, program: Program, **attributes: Any) -> None:
        super().__init__(**attributes, callback=self._serve)
        self.program = program

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the settings as options, read when first asked for, then `--help`."""
        if not self.params:
            self.params = self.program.options()
        return super().get_params(ctx)

    def _serve(self, **given: Any) -> int:
        die_with_parent()
        return self.program.serve({name: value for name, value in given.items() if value is not None})


coordinator = ServerCommand(
    COORDINATOR,
    name="coordinator",
    help="""Run a coordinator until it is told to stop.

    SIGTERM drains: calls under way end, then it stops. A second one stops at once. Each flag is also the environment
    variable PODIUM_COORDINATOR__<NAME>.
    """,
)
agent = ServerCommand(
    AGENT,
    name="agent",
    help="""Run an agent until it is told to stop.

    SIGTERM drains: no new attempts are taken and those under way end. A second one stops them. Each flag is also the
    environment variable PODIUM_AGENT__<NAME>.
    """,
)
