"""The python action: a function out of a bundle, called in this process."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FunctionError(Exception):
    """The bundle has no such function; the text says what is missing."""


def use_bundle(root: Path) -> None:
    """Make a bundle's modules importable, before all others."""
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()


class Functions:
    """Functions by name, each looked up once."""

    def __init__(self) -> None:
        self._found: dict[str, Callable[..., Any]] = {}

    def get(self, name: str) -> Callable[..., Any]:
        """Return what `load` returns."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = load(name)
        return found


def load(function: str) -> Callable[..., Any]:
    """Return what "module:qualname" names, without the SDK's wrapper.

    Raises:
        FunctionError: There is no such module or no such name in it.
        BaseException: Whatever the module raises while it is imported.
    """
    module_name, _, qualname = function.partition(":")
    found: Any = sys.modules.get(module_name) or _import(module_name)
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise FunctionError(f"Module {module_name!r} of the bundle has no {qualname!r}.") from error
    found = _unwrapped(found)
    if not callable(found):
        raise FunctionError(f"{function!r} of the bundle is not a function.")
    return found  # type: ignore[no-any-return]  # checked to be callable


def _import(module_name: str) -> types.ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise FunctionError(f"The bundle has no module {module_name!r}.") from error


def _unwrapped(found: Any) -> Any:
    """Return the function within the SDK's task object; a decorator of the user's own stays on."""
    if isinstance(found, types.FunctionType | type):
        return found
    return getattr(found, "__wrapped__", found)
