"""Podium's SDK: define workflows, deploy and run them, and read what came of them.

Importing it loads next to nothing; each name below brings what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium.aio import AsyncClient, AsyncRun
    from podium.building import TaskNode
    from podium.client import Client, Run
    from podium.definition import Task, Workflow, shell, task, workflow
    from podium.errors import (
        DeadlineError,
        InvalidParametersError,
        InvalidWorkflowError,
        PodiumError,
        RunCancelledError,
        RunFailedError,
        TaskFailedError,
    )
    from podium.files import AsyncFile, File
    from podium.model.states import RunState, TaskRunState
    from podium.outcomes import Fail, Retry, Skip
    from podium.starting import RunRequest
    from podium.version import __version__

__all__ = [
    "AsyncClient",
    "AsyncFile",
    "AsyncRun",
    "Client",
    "DeadlineError",
    "Fail",
    "File",
    "InvalidParametersError",
    "InvalidWorkflowError",
    "PodiumError",
    "Retry",
    "Run",
    "RunCancelledError",
    "RunFailedError",
    "RunRequest",
    "RunState",
    "Skip",
    "Task",
    "TaskFailedError",
    "TaskNode",
    "TaskRunState",
    "Workflow",
    "__version__",
    "shell",
    "task",
    "workflow",
]

_MODULES = {
    "podium.aio": ("AsyncClient", "AsyncRun"),
    "podium.client": ("Client", "Run"),
    "podium.building": ("TaskNode",),
    "podium.definition": ("Task", "Workflow", "shell", "task", "workflow"),
    "podium.errors": (
        "DeadlineError",
        "InvalidParametersError",
        "InvalidWorkflowError",
        "PodiumError",
        "RunCancelledError",
        "RunFailedError",
        "TaskFailedError",
    ),
    "podium.files": ("AsyncFile", "File"),
    "podium.model.states": ("RunState", "TaskRunState"),
    "podium.outcomes": ("Fail", "Retry", "Skip"),
    "podium.starting": ("RunRequest",),
    "podium.version": ("__version__",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that has `name`."""
    if name not in _HOMES:
        raise AttributeError(f"module 'podium' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the names that are there to use."""
    return sorted(__all__)
