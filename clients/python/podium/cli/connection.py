"""Asks the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from podium.cli.exits import Exit
from podium.cli.globals import Globals

if TYPE_CHECKING:
    from podium import AsyncClient

T = TypeVar("T")


def ask(settings: Globals, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Return what `work` makes of a client for the address that was given. Ctrl-C ends the command."""
    from podium import AsyncClient

    async def run() -> T:
        async with AsyncClient(settings.address) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
