"""Asks the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from podium.cli.globals import Globals

if TYPE_CHECKING:
    from podium import AsyncClient

T = TypeVar("T")


def ask(settings: Globals, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Return what `work` makes of a client for the address that was given. Ctrl-C raises KeyboardInterrupt."""
    from podium import AsyncClient

    async def run() -> T:
        async with AsyncClient(settings.address) as client:
            return await work(client)

    return asyncio.run(run())
