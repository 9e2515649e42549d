"""`podium runs`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podium.cli import printing
from podium.cli.connection import ask
from podium.cli.downloads import download
from podium.cli.exits import Exit
from podium.cli.globals import Globals, Output, global_options, pass_globals
from podium.cli.show import outputs as output_text
from podium.cli.show import plain
from podium.cli.show import runs as shown
from podium.cli.watching import follow, report
from podium.model.states import RunState

if TYPE_CHECKING:
    from podium import AsyncClient


@click.group()
def runs() -> None:
    """See, watch and cancel runs."""


@runs.command("list")
@click.option("--workflow", metavar="NAME", default="", help="Only runs of this workflow.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in RunState]),
    metavar="STATE",
    help="Only runs in this state; may be given several times.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most this many."
)
@global_options
@pass_globals
def list_(settings: Globals, workflow: str, states: tuple[str, ...], limit: int) -> None:
    """List runs, newest first."""
    wanted = [RunState(state) for state in states]
    found = ask(settings, lambda client: client.list_runs(workflow=workflow, states=wanted, limit=limit))
    now = datetime.now(UTC)
    printing.show_list(settings, found, lambda runs: shown.table(runs, now), lambda run: run.run_id, plain.run)
    if len(found) == limit and settings.output is Output.TABLE:
        printing.note(settings, f"There may be more: --limit {limit * 10}.")


@runs.command(short_help="Show one run.")
@click.argument("run_id", metavar="RUN")
@global_options
@pass_globals
def show(settings: Globals, run_id: str) -> None:
    """Show one run: its state, its parameters and how its task runs stand."""
    run = ask(settings, lambda client: client.get_run(run_id))
    now = datetime.now(UTC)
    printing.show_one(settings, run, lambda run: shown.details(run, now), lambda run: run.run_id, plain.run)


@runs.command(short_help="Follow a run to its end.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Stop watching after this long; the run goes on.",
)
@global_options
@pass_globals
def watch(settings: Globals, run_id: str, timeout: float | None) -> Exit:
    """Show a run's progress until it ends, and print its outputs, as `podium run` does."""
    return report(settings, ask(settings, lambda client: follow(client, run_id, settings, timeout)))


@runs.command(short_help="Cancel a run.")
@click.argument("run_id", metavar="RUN")
@click.option("--reason", metavar="TEXT", default="", help="Why, for those who look at the run later.")
@global_options
@pass_globals
def cancel(settings: Globals, run_id: str, reason: str) -> None:
    """Cancel a run: nothing new starts, and live attempts are stopped."""
    run = ask(settings, lambda client: client.cancel(run_id, reason))
    printing.show_one(settings, run, lambda run: f"{run.run_id} is {run.state}", lambda run: run.run_id, plain.run)
    printing.next_step(settings, f"podium runs watch {run_id}")


@runs.command(short_help="Print or download the outputs of tasks.")
@click.argument("run_id", metavar="RUN")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@click.option(
    "--download",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write each file in the outputs to DIR/TASK/NAME; DIR is made when absent.",
)
@global_options
@pass_globals
def outputs(settings: Globals, run_id: str, tasks: tuple[str, ...], folder: Path | None) -> None:
    """Print the outputs of tasks that succeeded; of the last tasks of the DAG when none are named."""

    async def fetch(client: AsyncClient) -> dict[str, Any]:
        values = await client.get_outputs(run_id, tasks)
        if folder is not None:
            for path in await download(values, folder):
                printing.note(settings, str(path))
        return values

    values = ask(settings, fetch)
    match settings.output:
        case Output.JSON:
            printing.answer_json(output_text.as_json(values))
        case Output.NAME:
            printing.answer("\n".join(values))
        case Output.TABLE:
            printing.answer(output_text.summary(values))
