"""What reflection looks descriptors up in."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool


class ReflectedPool:
    """The default pool, which also finds the file of a method: `describe` asks for it."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the library's pool."""
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the library's name
        """Return the descriptor of the file that defines a symbol.

        Raises:
            KeyError: Nothing has that name.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file
