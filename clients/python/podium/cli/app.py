"""The root command, and how errors become words and exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from podium.cli.exits import Exit, exit_of
from podium.cli.globals import Globals, global_options
from podium.cli.show import problem
from podium.errors import PodiumError

# In the order people meet them: the command, the module that has it, what the list of commands says of it.
_COMMANDS = (
    ("init", "init", "Write a folder with a working pipeline and its test."),
    ("up", "up", "Run a small cluster on this machine."),
    ("down", "up", "Stop the cluster that `podium up` started."),
    ("deploy", "deploy", "Register the workflows of a folder or a file."),
    ("run", "start", "Start a run, watch it, print its outputs."),
    ("runs", "runs", "List, show, watch and cancel runs."),
    ("tasks", "tasks", "List the task runs of a run."),
    ("logs", "logs", "Print what a task wrote."),
    ("workflows", "workflows", "List and show workflows."),
    ("agents", "agents", "List and show agents."),
    ("coordinator", "serve", "Run a coordinator."),
    ("agent", "serve", "Run an agent."),
    ("completion", "completion", "Print the script that completes commands in a shell."),
    ("version", "version", "Print the version."),
)
_MODULES = {name: module for name, module, _ in _COMMANDS}


class Root(click.Group):
    """Imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        del ctx
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None when there is none of that name."""
        del ctx
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"podium.cli.commands.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, _, text in _COMMANDS])


@click.group(cls=Root, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@global_options
def root() -> None:
    """Deploy, run and watch workflows on a cluster."""


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
        _complain(problem.lines(error, settings.as_typed))
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
        click.echo(line, err=True)
