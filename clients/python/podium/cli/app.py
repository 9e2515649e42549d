"""The root command, and how errors become words and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from podium.cli.commands import (
    agents,
    completion,
    deploy,
    init,
    logs,
    runs,
    serve,
    start,
    tasks,
    up,
    version,
    workflows,
)
from podium.cli.exits import Exit, exit_of
from podium.cli.globals import Globals, global_options
from podium.cli.show import problem
from podium.errors import PodiumError


class Root(click.Group):
    """Lists commands in the order people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order they were added."""
        return list(self.commands)


@click.group(cls=Root, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@global_options
def root() -> None:
    """Deploy, run and watch workflows on a cluster."""


for _command in (
    init.init,
    up.up,
    up.down,
    deploy.deploy,
    start.run,
    runs.runs,
    tasks.tasks,
    logs.logs,
    workflows.workflows,
    agents.agents,
    serve.coordinator,
    serve.agent,
    completion.completion,
    version.version,
):
    root.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code (`podium.cli.exits`)."""
    settings = Globals()
    try:
        code = root.main(list(arguments), prog_name="podium", standalone_mode=False, obj=settings)
    except click.exceptions.NoArgsIsHelpError as error:
        _complain([error.format_message()])
        return Exit.USAGE
    except click.ClickException as error:
        _complain(_usage_lines(error))
        return Exit.USAGE
    except click.Abort:
        return Exit.INTERRUPTED
    except (PodiumError, OSError) as error:
        _complain(problem.lines(error))
        return exit_of(error)
    return int(code or Exit.OK)


def _usage_lines(error: click.ClickException) -> list[str]:
    told = [f"error: {' '.join(error.format_message().split())}"]
    context = getattr(error, "ctx", None)
    if isinstance(context, click.Context):
        told.append(f"next: {context.command_path} --help")
    return told


def _complain(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line, err=True, color=None if sys.stderr.isatty() else False)
