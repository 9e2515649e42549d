"""One task of a run in this process: its inputs, its tries, its result."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from podium.bindings import Inputs, Plain, plain_action
from podium.errors import PodiumError, RejectedInputError
from podium.model.spec import JsonValue, PythonAction, ShellAction, TaskSpec
from podium.model.states import Failure, FailureKind, TaskRunState
from podium.outcomes import Fail, Skip, describe
from podium.results import FileRef, PathRef, decode_result, encode_result

_HERE = f"{Path(__file__).parent}{os.sep}"
_FINAL = (Fail, RejectedInputError)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended, after how many attempts."""

    state: TaskRunState
    attempts: int
    output: bytes = b""
    failure: Failure | None = None
    exception: BaseException | None = None


class ProgramError(Exception):
    """A program did not end well."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Files:
    """Keeps the files that tasks return, by content, and hands out copies of them."""

    def __init__(self, folder: Path) -> None:
        self._stored = folder / "stored"
        self._kept = folder / "outputs"
        self._stored.mkdir()

    def store(self, file: PathRef) -> None:
        """Keep a file that a task returned."""
        shutil.copyfile(file.path, self._stored / file.file.sha256)

    def copy(self, file: FileRef, folder: Path) -> Path:
        """Return the path of a copy in `folder`, under the file's own name."""
        path = folder / file.sha256[:16] / file.name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._stored / file.sha256, path)
        return path

    def keep(self, file: FileRef) -> Path:
        """Return the path of a copy that stays for as long as the run."""
        return self.copy(file, self._kept)


class Attempts:
    """Executes tasks of one run, and remembers their outputs."""

    def __init__(
        self, params: Mapping[str, JsonValue], functions: Mapping[str, Callable[..., Any]], project: Path, folder: Path
    ) -> None:
        self.files = Files(folder)
        self._params = json.dumps(dict(params))
        self._functions = functions
        self._project = project
        self._folder = folder
        self._outputs: dict[str, bytes] = {}

    def execute(self, task: TaskSpec) -> Ended:
        """Try a task until it ends for good."""
        for number in range(1, task.retry.retries + 2):
            try:
                output = self._attempt(task)
            except Skip:
                return Ended(TaskRunState.SKIPPED, number)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a task may raise anything
                if number > task.retry.retries or isinstance(error, _FINAL):
                    return Ended(TaskRunState.FAILED, number, failure=_failure(error), exception=error)
            else:
                self._outputs[task.key] = output
                return Ended(TaskRunState.SUCCEEDED, number, output)
        raise AssertionError("a last attempt returns")

    def _attempt(self, task: TaskSpec) -> bytes:
        action: Plain = json.loads(json.dumps(plain_action(task.action)))
        with _scratch(self._folder) as scratch:
            outputs = {key: decode_result(self._outputs[key]) for key in task.upstream if key in self._outputs}
            inputs = Inputs(json.loads(self._params), outputs, lambda file: self.files.copy(file, scratch / "inputs"))
            if isinstance(task.action, PythonAction):
                return self._call(self._functions[task.key], inputs, action)
            self._run_program(task.action, inputs.environment(action), task.run_timeout)
            return b"null"

    def _call(self, function: Callable[..., Any], inputs: Inputs, action: Plain) -> bytes:
        args, kwargs = inputs.arguments(action)
        data, files = encode_result(function(*args, **kwargs))
        for file in files:
            self.files.store(file)
        return data

    def _run_program(self, action: ShellAction, environment: Mapping[str, str], timeout: float | None) -> None:
        argv = list(action.exec) or ["/bin/sh", "-eu", "-c", action.script]
        folder = self._project / action.cwd if action.cwd else None
        try:
            program = subprocess.Popen(argv, env={**os.environ, **environment}, cwd=folder, start_new_session=True)
        except OSError as error:
            message = f"The program {argv[0]!r} cannot be started: {error}"
            raise ProgramError(Failure(FailureKind.USER_ERROR, message)) from error
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            message = f"The program took longer than its timeout of {timeout:g} s."
            raise ProgramError(Failure(FailureKind.TIMEOUT_RUN, message)) from None
        finally:
            _end_group(program)
        if code:
            how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            message = f"The program {how}."
            raise ProgramError(Failure(FailureKind.EXIT_CODE, message, exit_code=code))


def _end_group(program: subprocess.Popen[bytes]) -> None:
    """Kill the program, and what it has left behind in its session."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Make a fresh folder the working one, as it is for a task on an agent."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def _failure(error: BaseException) -> Failure:
    if isinstance(error, ProgramError):
        return error.failure
    if isinstance(error, RejectedInputError):
        return Failure(FailureKind.REJECTED_INPUT, error.message)
    if isinstance(error, SystemExit):
        message = f"The task called sys.exit({error.code!r}); return a value, or raise podium.Fail or podium.Skip."
        return Failure(FailureKind.USER_ERROR, message, exception_type="builtins.SystemExit")
    if isinstance(error, PodiumError):
        return Failure(FailureKind.USER_ERROR, error.message)
    return describe(error, _users_part(error.__traceback__))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace
