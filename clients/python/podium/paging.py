"""Reads lists page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

LARGEST_PAGE = 1_000

FetchPage = Callable[[int, str], Awaitable[tuple[Iterable[T], str]]]
"""Takes a page's size and token; gives its items and the token of the next page, empty after the last."""


async def read_pages(fetch: FetchPage[T], limit: int | None) -> list[T]:
    """Return the first `limit` items of a list, or all of them for None."""
    items: list[T] = []
    token = ""
    while limit is None or len(items) < limit:
        size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(items))
        page, token = await fetch(size, token)
        items.extend(page)
        if not token:
            break
    return items
