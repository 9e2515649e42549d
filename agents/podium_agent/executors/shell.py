"""The shell action: a program, or a script for /bin/sh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium_agent.executors.outcome import Outcome, failed

if TYPE_CHECKING:
    from collections.abc import Mapping


def execute(action: Mapping[str, Any], bound: Mapping[str, Any], base: Path | None) -> Outcome:
    """Run the program to its end, in a process group of its own, with the worker's stdout and stderr.

    Args:
        action: `exec` or `script`, `env` and `cwd` of podium.v1.ShellAction.
        bound: Values for the environment by variable: strings as they are, all else as JSON.
        base: The bundle's root, which `cwd` is relative to; None without a bundle.
    """
    environment = {**os.environ, **action["env"], **{name: as_text(value) for name, value in bound.items()}}
    argv = list(action["exec"]) or ["/bin/sh", "-eu", "-c", action["script"]]
    try:
        folder = working_folder(action["cwd"], base)
        program = subprocess.Popen(argv, env=environment, cwd=folder, process_group=0)
    except (OSError, ValueError) as error:
        return failed("user_error", f"The program {argv[0]!r} cannot be started: {error}")
    _, status, used = os.wait4(program.pid, 0)
    code = program.returncode = os.waitstatus_to_exitcode(status)
    ended = failed("exit_code", describe_exit(code), exit_code=code) if code else Outcome("succeeded", b"null")
    ended.peak_memory_bytes = used.ru_maxrss * 1024
    return ended


def working_folder(cwd: str, base: Path | None) -> Path | None:
    """Return where to run; None for the scratch folder the worker is in.

    Raises:
        ValueError: `cwd` leads out of the bundle, or there is no bundle.
    """
    if not cwd:
        return None
    if base is None:
        raise ValueError(f"the working folder {cwd!r} is relative to a bundle, and this task has none")
    folder = (base / cwd).resolve()
    if not folder.is_relative_to(base.resolve()):
        raise ValueError(f"the working folder {cwd!r} leads out of the bundle")
    return folder


def as_text(value: Any) -> str:
    """Return a value as an environment variable's text."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=os.fspath)


def describe_exit(code: int) -> str:
    """Say in a sentence how a program ended; `code` is minus the signal's number when a signal ended it."""
    if code >= 0:
        return f"The program ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (the host may have run out of memory)" if code == -signal.SIGKILL else ""
    return f"The program was ended by {name}{hint}."
