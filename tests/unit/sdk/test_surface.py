from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest

import podium

NAMES = [
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
HEAVY = ("grpc", "google", "typer", "click", "rich", "ruamel", "msgspec", "pathspec", "asyncio")


def loaded_after(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_names_are_these_and_only_these() -> None:
    assert podium.__all__ == NAMES
    assert dir(podium) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    assert getattr(podium, name) is not None


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'podium' has no attribute 'Flow'"):
        _ = podium.Flow


@pytest.mark.parametrize("statement", ["import podium", "from podium import task, workflow, shell, Skip, Fail, Retry"])
def test_defining_workflows_loads_nothing_heavy(statement: str) -> None:
    assert loaded_after(statement).isdisjoint(HEAVY)


def test_the_worker_s_modules_need_only_the_standard_library() -> None:
    modules = "podium.results, podium.bindings, podium.outcomes, podium.logformat, podium.functions"
    third_party = loaded_after(f"import {modules}") - set(sys.stdlib_module_names)
    assert {name for name in third_party if not name.startswith("_")} <= loaded_after("pass") | {"podium"}


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("podium").joinpath("py.typed").is_file()
