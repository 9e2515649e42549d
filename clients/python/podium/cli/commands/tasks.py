"""`podium tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from podium.cli.connection import ask
from podium.cli.globals import Globals, global_options, pass_globals
from podium.cli.printing import show_list
from podium.cli.show import tasks as shown
from podium.model.states import TaskRunState


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in TaskRunState]),
    metavar="STATE",
    help="Only task runs in this state; may be given several times.",
)
@click.option("--attempts", is_flag=True, help="List every attempt instead.")
@global_options
@pass_globals
def tasks(settings: Globals, run_id: str, states: tuple[str, ...], attempts: bool) -> None:
    """List the task runs of a run: state, attempts, agent, how long they took, and why they failed."""
    if attempts and states:
        raise click.UsageError("--attempts lists attempts of all tasks; leave --state out.")
    if attempts:
        _show_attempts(settings, run_id)
    else:
        _show_task_runs(settings, run_id, [TaskRunState(state) for state in states])


def _show_task_runs(settings: Globals, run_id: str, states: Sequence[TaskRunState]) -> None:
    found = ask(settings, lambda client: client.list_task_runs(run_id, states=states))
    now = datetime.now(UTC)
    show_list(settings, found, lambda runs: shown.table(runs, now), lambda run: run.label)


def _show_attempts(settings: Globals, run_id: str) -> None:
    found = ask(settings, lambda client: client.list_attempts(run_id))
    now = datetime.now(UTC)
    show_list(settings, found, lambda tries: shown.attempts(tries, now), lambda one: f"{shown.label(one)} {one.number}")
