"""`podium completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from podium.cli import printing
from podium.cli.globals import Globals, local_options, pass_globals

_ADVICE = {
    "bash": 'add to ~/.bashrc: eval "$(podium completion bash)"',
    "zsh": 'add to ~/.zshrc: eval "$(podium completion zsh)"',
    "fish": "podium completion fish > ~/.config/fish/completions/podium.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_ADVICE)))
@local_options
@pass_globals
@click.pass_context
def completion(ctx: click.Context, settings: Globals, shell: str) -> None:
    """Print the script that completes this command in a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"No completion for {shell} is known.", ctx)
    printing.answer(kind(ctx.find_root().command, {}, "podium", "_PODIUM_COMPLETE").source())
    printing.note(settings, _ADVICE[shell])
