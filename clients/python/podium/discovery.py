"""Finds the workflows of a project: Python code is imported, in this process; YAML and JSON files are read.

Code is imported afresh with the project's folder first on the path, and taken out of `sys.modules` again afterwards, so
that projects with modules of the same name do not meet, and that a second look sees what has changed.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from podium.definition import Workflow
from podium.errors import DiscoveryError, FieldViolation, InvalidWorkflowError, PodiumError
from podium.functions import FunctionProblemError, check_call
from podium.model.spec import PythonAction, ShellAction, WorkflowSpec
from podium.project_files import project_files
from podium.textual import SUFFIXES, TextWorkflow, looks_like_workflow, read_workflow

_SKIPPED = ("conftest.py", "setup.py")


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of code: what is packed, where it stands in the bundle, and the folder that imports start from."""

    folder: Path
    prefix: str
    root: Path


@dataclass(frozen=True, slots=True)
class Found:
    """A workflow of a project, and the file it is defined in."""

    spec: WorkflowSpec
    file: Path

    @property
    def needs_bundle(self) -> bool:
        """Whether it runs code of its project, or in one of its folders."""
        return any(
            isinstance(task.action, PythonAction) or (isinstance(task.action, ShellAction) and task.action.cwd)
            for task in self.spec.tasks
        )


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found."""

    project: Project
    workflows: tuple[Found, ...]


def discover(target: Path) -> Discovery:
    """Return the workflows of a folder, or those of one file.

    Of a folder, each .py, .yaml, .yml and .json file that .gitignore lets stand and that speaks of workflows is looked
    at, but for tests.

    Raises:
        DiscoveryError: There is none, two have one name, or a module cannot be imported (with its traceback).
        InvalidWorkflowError: A definition is not sound.
        OSError: A file cannot be read.
    """
    target = target.resolve()
    if not target.exists():
        raise DiscoveryError(f"There is no file or folder {target}.", path=str(target))
    project = project_of(target)
    with _imports_from(project.root):
        found = list(_search(target, project))
    if not found:
        raise DiscoveryError(
            f"There is no workflow in {target}: no function decorated with @workflow, and no YAML or JSON file "
            "with the keys workflow and tasks.",
            path=str(target),
        )
    _check_names(found)
    return Discovery(project, tuple(found))


def project_of(target: Path) -> Project:
    """Return the project that a file or a folder belongs to: its folder, or the outermost package around it."""
    folder = target if target.is_dir() else target.parent
    if not (folder / "__init__.py").exists():
        return Project(folder, "", folder)
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return Project(folder, folder.name, folder.parent)


def project_of_module(file: Path, module: str) -> Project:
    """Return the project of a module that this process has imported from `file` under the name `module`."""
    parts = module.split(".")
    steps = parts if file.name != "__init__.py" else [*parts, "__init__"]
    if list(file.with_suffix("").parts[-len(steps) :]) != steps:
        return project_of(file)
    root = file.parents[len(steps) - 1]
    return Project(root, "", root) if len(steps) == 1 else Project(root / parts[0], parts[0], root)


def _search(target: Path, project: Project) -> Iterator[Found]:
    if target.is_file():
        yield from _in_file(target, project)
        return
    for file in project_files(target):
        if _is_candidate(file.path):
            yield from _in_file(target / file.name, project)


def _is_candidate(path: Path) -> bool:
    name = path.name
    if name in _SKIPPED or name.startswith("test_") or name.endswith("_test.py"):
        return False
    if path.suffix == ".py":
        data = path.read_bytes()
        return b"podium" in data and b"workflow" in data
    return path.suffix in SUFFIXES and _has_workflow(path)


def _has_workflow(path: Path) -> bool:
    text = path.read_bytes().decode(errors="replace")
    return looks_like_workflow(text) and "tasks" in text


def _in_file(path: Path, project: Project) -> Iterator[Found]:
    if path.suffix in SUFFIXES:
        yield _in_text(path)
    elif path.suffix == ".py":
        yield from _in_module(path, project)
    else:
        raise DiscoveryError(f"{path} is no Python, YAML or JSON file.", path=str(path))


def _in_text(path: Path) -> Found:
    written = read_workflow(path)
    problems = [problem for problem in _call_problems(written) if problem is not None]
    if problems:
        raise InvalidWorkflowError(f"{path} calls functions that cannot be called so.", tuple(problems), file=str(path))
    return Found(written.spec, path)


def _call_problems(written: TextWorkflow) -> Iterator[FieldViolation | None]:
    for task in written.spec.tasks:
        if isinstance(task.action, PythonAction):
            try:
                check_call(task.action)
            except FunctionProblemError as error:
                yield FieldViolation(f"tasks.{task.key}.python", str(error), written.task_lines[task.key])
            except BaseException as error:
                raise _import_failed(error, written.file) from error


def _in_module(path: Path, project: Project) -> Iterator[Found]:
    module = _import(path, project)
    for value in list(vars(module).values()):
        if isinstance(value, Workflow) and value.__module__ == module.__name__:
            yield Found(value.spec(), path)


def _import(path: Path, project: Project) -> ModuleType:
    parts = path.relative_to(project.root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if not all(part.isidentifier() for part in parts):
        raise DiscoveryError(
            f"{path} cannot be imported as {name!r}: rename it to a Python identifier.", path=str(path)
        )
    try:
        module = importlib.import_module(name)
    except PodiumError:
        raise
    except (Exception, SystemExit) as error:
        raise _import_failed(error, path) from error
    if module.__file__ is None or Path(module.__file__).resolve() != path.resolve():
        place = module.__file__ or "the interpreter"
        raise DiscoveryError(
            f"{path} cannot be imported: there is another module {name!r}, in {place}. Rename the file.", path=str(path)
        )
    return module


def _import_failed(error: BaseException, path: Path) -> DiscoveryError:
    lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
    return DiscoveryError(f"{path} cannot be imported:\n{''.join(lines).rstrip()}", path=str(path))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the user's first line on."""
    ours = (f"{Path(__file__).parent}{os.sep}", "<frozen importlib", importlib.__file__)
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    return trace


@contextmanager
def _imports_from(root: Path) -> Iterator[None]:
    """Let imports find the modules of `root` first, and forget them afterwards."""
    path = list(sys.path)
    writes = sys.dont_write_bytecode
    known = {name: module for name, module in sys.modules.items() if _is_under(module, root)}
    for name in known:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes
        for name in [name for name, module in sys.modules.items() if _is_under(module, root)]:
            del sys.modules[name]
        sys.modules.update(known)


def _is_under(module: Any, root: Path) -> bool:
    """Tell whether a module comes from `root` itself, and not from an environment inside of it."""
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))
    folders = [Path(place).parent if place == file else Path(place) for place in places]
    return any(
        folder.is_relative_to(root) and "site-packages" not in folder.relative_to(root).parts for folder in folders
    )


def _check_names(found: list[Found]) -> None:
    files: dict[str, Path] = {}
    for item in found:
        if item.spec.name in files:
            raise DiscoveryError(
                f"Two workflows have the name {item.spec.name!r}, in {files[item.spec.name]} and in {item.file}. "
                "Give one of them another name.",
                workflow=item.spec.name,
            )
        files[item.spec.name] = item.file
