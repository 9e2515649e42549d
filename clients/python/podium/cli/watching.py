"""Follows a run to its end and reports how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from podium.cli import printing, progress
from podium.cli.exits import Exit
from podium.cli.globals import Globals, Output
from podium.cli.show import outputs, plain, problem, tasks
from podium.errors import DeadlineError, OutputsTooLargeError
from podium.model.states import RunState, TaskRunState

if TYPE_CHECKING:
    from podium import AsyncClient
    from podium.resources import RunInfo, TaskRun

SHOWN_FAILURES = 10
"""How many failed task runs are reported in full."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: the outputs of its leaves when it succeeded, the first failed task runs when it failed."""

    run: RunInfo
    outputs: Mapping[str, Any] | None = None
    failed: Sequence[TaskRun] = ()


async def follow(client: AsyncClient, run_id: str, settings: Globals, timeout: float | None) -> Ended:
    """Show a run's progress until it has ended.

    Raises:
        DeadlineError: It goes on after `timeout` seconds.
    """
    try:
        with progress.shown(settings) as tell:
            run = await _ended(client, run_id, tell, timeout)
    except asyncio.CancelledError:
        printing.note(settings, f"The run {run_id} goes on.")
        printing.next_step(settings, f"podium runs watch {run_id}", f"podium runs cancel {run_id}")
        raise
    if run.state is RunState.SUCCEEDED:
        return Ended(run, await _outputs(client, run_id, settings))
    failed = (TaskRunState.FAILED, TaskRunState.UNKNOWN)
    return Ended(run, failed=await client.list_task_runs(run_id, states=failed, limit=SHOWN_FAILURES))


async def _ended(client: AsyncClient, run_id: str, tell: progress.Tell, timeout: float | None) -> RunInfo:
    run: RunInfo = await client.get_run(run_id)
    try:
        async with asyncio.timeout(timeout), aclosing(client.watch_run(run_id, run_only=True)) as updates:
            async for update in updates:
                run = update.run
                tell(run)
    except DeadlineError:
        raise
    except TimeoutError:
        message = f"The run {run_id} is still {run.state} after {timeout:g} s; it goes on."
        raise DeadlineError(message, run_id=run_id) from None
    return run


async def _outputs(client: AsyncClient, run_id: str, settings: Globals) -> Mapping[str, Any] | None:
    """Return the outputs of the leaves; only a caller that wants JSON gets an error when they are too large."""
    try:
        return await client.get_outputs(run_id)
    except OutputsTooLargeError as error:
        if settings.output is Output.JSON:
            raise
        for line in problem.lines(error, settings.as_typed):
            printing.note(settings, line)
        return None


def report(settings: Globals, ended: Ended) -> Exit:
    """Write how a run ended, and return the exit code that tells it."""
    run = ended.run
    match settings.output:
        case Output.JSON:
            failed = [plain.plain(task_run) for task_run in ended.failed]
            printing.answer_json({**plain.run(run), "outputs": outputs.as_json(ended.outputs), "failed": failed})
        case Output.NAME:
            printing.answer(run.run_id)
        case Output.TABLE if ended.outputs:
            printing.answer(outputs.summary(ended.outputs))
    if run.state is RunState.SUCCEEDED:
        return Exit.OK
    _complain(settings, ended)
    return Exit.RUN_FAILED


def _complain(settings: Globals, ended: Ended) -> None:
    run = ended.run
    for task_run in ended.failed:
        click.echo(tasks.failed(task_run), err=True)
    reason = f": {run.reason.rstrip('.')}." if run.reason else "."
    click.echo(f"error: Run {run.run_id} of {run.workflow} {_how(run)}{reason}", err=True)
    commands = [f"podium logs {run.run_id} {quote(task_run.label)}" for task_run in ended.failed[:1]]
    printing.next_step(settings, *commands, f"podium tasks {run.run_id}")


def _how(run: RunInfo) -> str:
    return "was cancelled" if run.state is RunState.CANCELLED else "failed"
