"""Functions named by "module:qualname"."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from podium.model.spec import PythonAction


class FunctionProblemError(Exception):
    """There is no such function, or it cannot be called so; the text says why."""


def load_function(reference: str) -> Callable[..., Any]:
    """Return what "module:qualname" names, without the SDK's wrapper.

    Raises:
        FunctionProblemError: There is no such module, nothing of that name in it, or it is no function.
        BaseException: What the module raises while it is imported.
    """
    module_name, _, qualname = reference.partition(":")
    found: Any = _module(module_name)
    for name in qualname.split("."):
        if not hasattr(found, name):
            raise FunctionProblemError(f"The module {module_name!r} has no {qualname!r}.")
        found = getattr(found, name)
    found = found if inspect.isfunction(found) else getattr(found, "__wrapped__", found)
    if not callable(found):
        raise FunctionProblemError(f"{reference!r} is no function.")
    return found  # type: ignore[no-any-return]  # just checked


def check_call(action: PythonAction) -> None:
    """Check that an action's function is there and takes its arguments.

    Raises:
        FunctionProblemError: It is not, or does not.
        BaseException: What its module raises while it is imported.
    """
    function = load_function(action.function)
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # some built-in functions do not tell
    try:
        signature.bind(*action.args, **dict(action.kwargs))
    except TypeError as error:
        raise FunctionProblemError(f"{action.function}(): {error}.") from None


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise FunctionProblemError(f"There is no module {name!r} in the project.") from error
