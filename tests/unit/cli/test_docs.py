"""docs/cli.md says what the commands take and what exit codes mean, exactly as the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from podium.cli.app import root
from podium.cli.commands.serve import ServerCommand
from podium.cli.exits import Exit

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")
EVERYWHERE = {"--address", "--output", "--no-color", "--quiet", "--help"}


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with the words that call it."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            else:
                yield f"{path} {name}", command


def synopsis(words: str, command: click.Command) -> str:
    """Return the line that documents a command."""
    if isinstance(command, ServerCommand):
        return f"{words} [--SETTING VALUE]..."
    with click.Context(command) as context:
        arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
        options = [option(param) for param in command.params if isinstance(param, click.Option) and shown(param)]
    return " ".join([words, *arguments, *options])


def shown(param: click.Option) -> bool:
    return not param.hidden and not EVERYWHERE & set(param.opts)


def option(param: click.Option) -> str:
    names = "|".join(param.opts)
    return f"[{names}]" if param.is_flag else f"[{names} {param.metavar}]" + "..." * param.multiple


def test_every_command_is_documented_with_its_synopsis_and_no_other() -> None:
    documented = dict(re.findall(r"^### (podium [^\n]*)\n\n```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL))
    joined = {words: " ".join(text.split()) for words, text in documented.items()}
    assert joined == {words: synopsis(words, command) for words, command in commands(root, "podium")}


def test_every_global_option_is_documented() -> None:
    for param in root.params:
        for name in (*param.opts, *param.secondary_opts):
            assert f"`{name}" in PAGE or f"`{name}`" in PAGE, name


def test_the_table_of_exit_codes_is_the_code_s() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert documented == {int(code) for code in Exit}


def test_every_command_explains_itself_in_full_sentences() -> None:
    for words, command in commands(root, "podium"):
        assert (command.help or "").strip().split("\n")[0].endswith((".", ":", ",")), words
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.help, (words, param.name)
