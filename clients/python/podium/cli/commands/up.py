"""`podium up` and `podium down`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from podium.cli import printing
from podium.cli.globals import Globals, local_options, pass_globals
from podium.cli.programs import AGENT, COORDINATOR

if TYPE_CHECKING:
    from podium.cli.local.plan import Plan

DEFAULT_PORT = 7450

_data_dir = click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything the cluster keeps. [default: $XDG_DATA_HOME/podium; for root /var/lib/podium]",
)


@click.command()
@_data_dir
@click.option(
    "--agents", metavar="N", type=click.IntRange(0, 64), default=1, show_default=True, help="How many agents."
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The coordinator's port.",
)
@click.option("-d", "--detach", is_flag=True, help="Return once the cluster is ready; `podium down` stops it.")
@click.option("--ready-fd", type=int, hidden=True)
@local_options
@pass_globals
def up(settings: Globals, data_dir: Path | None, agents: int, port: int, detach: bool, ready_fd: int | None) -> None:
    """Run a small cluster on this machine: embedded Postgres, a coordinator and agents.

    Ctrl-C drains and stops them all; a second Ctrl-C stops them at once. Each agent offers all cores and memory of
    the machine.
    """
    from podium.cli.local import background
    from podium.cli.local.plan import Plan

    AGENT.options()  # tells at once when the agent's libraries are missing
    plan = Plan(_folder(data_dir), port, agents)
    if detach:
        background.start(plan)
        _announce(settings, plan, f"podium down --data-dir {quote(str(plan.data_dir))}")
        return
    announce = partial(_announce, settings, plan, "Ctrl-C here")
    _keep_up(settings, plan, partial(background.tell_ready, ready_fd) if ready_fd else announce)


@click.command()
@_data_dir
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long to wait.",
)
@click.option("--now", is_flag=True, help="Do not let attempts under way end.")
@local_options
@pass_globals
def down(settings: Globals, data_dir: Path | None, timeout: float, now: bool) -> None:
    """Stop the cluster that `podium up` started in the folder; nothing is done when there is none."""
    from podium.cli.local import background

    folder = _folder(data_dir)
    stopped = background.stop(folder, timeout, now)
    printing.note(settings, f"The cluster in {folder} is stopped." if stopped else f"No cluster is up in {folder}.")


def _folder(data_dir: Path | None) -> Path:
    return (data_dir or COORDINATOR.default_data_dir()).absolute()


def _announce(settings: Globals, plan: Plan, how_to_stop: str) -> None:
    printing.answer(f"coordinator  {plan.address}")
    printing.answer(f"agents       {', '.join(plan.agent_names) or 'none'}")
    printing.answer(f"data         {plan.data_dir}")
    near = replace(settings, address=plan.address if plan.port != DEFAULT_PORT else None)
    printing.next_step(near, "podium init hello", "podium deploy hello", "podium run words")
    printing.note(settings, f"{how_to_stop} stops the cluster.")


def _keep_up(settings: Globals, plan: Plan, ready: Callable[[], None]) -> None:
    from podium.cli.local import cluster, lock, logs

    async def run() -> None:
        requests = cluster.Requests()
        requests.listen()
        with logs.kept(plan.log, echo=not settings.quiet) as sink:
            await cluster.keep_up(plan, sink, ready, requests)

    with lock.held(plan.data_dir, plan.address):
        plan.check_port()
        asyncio.run(run())
