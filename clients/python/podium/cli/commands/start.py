"""`podium run`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podium.cli import parameters
from podium.cli.connection import ask
from podium.cli.exits import Exit
from podium.cli.globals import Globals, global_options, pass_globals
from podium.cli.printing import next_step, note, show_one
from podium.cli.show import plain
from podium.cli.watching import Ended, follow, report

if TYPE_CHECKING:
    from podium import AsyncClient
    from podium.resources import RunInfo


@dataclass(frozen=True, slots=True)
class Order:
    """What to start."""

    workflow: str
    version: int
    request_id: str | None
    pairs: tuple[str, ...]
    params_file: Path | None

    async def place(self, client: AsyncClient) -> RunInfo:
        """Start the run. Parameters are read by the types that the workflow declares."""
        params = {}
        if self.pairs or self.params_file:
            spec = (await client.get_workflow(self.workflow, self.version)).spec
            assert spec is not None  # noqa: S101 - one version is always read with its definition
            params = parameters.given(spec, self.pairs, self.params_file)
        return await client.run(self.workflow, version=self.version, request_id=self.request_id, params=params)


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.option(
    "-p",
    "--param",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="A parameter: text as it is where the workflow declares a string, JSON elsewhere. May be given several times.",
)
@click.option(
    "--params-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON file with an object of parameters; -p wins over it.",
)
@click.option("--version", metavar="N", type=click.IntRange(1), help="The version; the newest when it is left out.")
@click.option("--request-id", metavar="ID", help="Makes repeating the command safe: the same id gives the same run.")
@click.option("--no-wait", "--detach", "no_wait", is_flag=True, help="Return once the run is started.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Stop watching after this long; the run goes on.",
)
@global_options
@pass_globals
def run(
    settings: Globals,
    workflow: str,
    pairs: tuple[str, ...],
    params_file: Path | None,
    version: int | None,
    request_id: str | None,
    no_wait: bool,
    timeout: float | None,
) -> Exit:
    """Start a run, show its progress until it ends, and print its outputs.

    Ctrl-C stops watching; the run goes on.
    """
    order = Order(workflow, version or 0, request_id, pairs, params_file)
    if no_wait:
        started = ask(settings, order.place)
        show_one(settings, started, lambda run: run.run_id, lambda run: run.run_id, plain.run)
        next_step(settings, f"podium runs watch {started.run_id}")
        return Exit.OK

    async def work(client: AsyncClient) -> Ended:
        started = await order.place(client)
        note(settings, f"run {started.run_id} of {started.workflow} version {started.version}")
        return await follow(client, started.run_id, settings, timeout)

    return report(settings, ask(settings, work))
