"""The shell action: a program, or a script for /bin/sh."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium_agent.executors.outcome import Outcome, describe_exit, failed

if TYPE_CHECKING:
    from collections.abc import Mapping


def execute(action: Mapping[str, Any], environment: Mapping[str, str], base: Path | None) -> Outcome:
    """Run the program to its end, in a process group of its own, with the worker's stdout and stderr.

    Args:
        action: A shell action in JSON's terms.
        environment: Variables to add to the worker's own.
        base: The bundle's root, which the action's `cwd` is relative to; None without a bundle.
    """
    argv = list(action["exec"]) or ["/bin/sh", "-eu", "-c", action["script"]]
    try:
        folder = working_folder(action["cwd"], base)
        program = subprocess.Popen(argv, env={**os.environ, **environment}, cwd=folder, process_group=0)
    except (OSError, ValueError) as error:
        return failed("user_error", f"The program {argv[0]!r} cannot be started: {error}")
    _, status, used = os.wait4(program.pid, 0)
    code = program.returncode = os.waitstatus_to_exitcode(status)
    ended = (
        failed("exit_code", describe_exit("The program", code), exit_code=code)
        if code
        else Outcome("succeeded", b"null")
    )
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
