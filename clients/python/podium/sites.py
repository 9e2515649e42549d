"""Where in the user's code something is defined, so that errors can point there."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from podium.errors import DefinitionError

_HERE = f"{Path(__file__).parent}{os.sep}"


class Site(NamedTuple):
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def error(self, message: str) -> DefinitionError:
        """Return an error about what is defined here."""
        return DefinitionError(f"{self}: {message}", file=self.file, line=self.line)


def caller() -> Site:
    """Return the line that called into the SDK."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return Site("<unknown>", 0) if frame is None else Site(frame.f_code.co_filename, frame.f_lineno)


def site_of(function: Callable[..., Any]) -> Site:
    """Return where a function is defined."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Site("<unknown>", 0) if code is None else Site(code.co_filename, code.co_firstlineno)
