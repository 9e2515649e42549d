"""The ledger: each execution appends a line when it starts and one when it ends, and waits for the disk."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def ledgered(function: Callable[P, R]) -> Callable[P, R]:
    """Note each execution of a task's function, and what it returned; it waits at the gate named as the task."""

    @wraps(function)
    def noted(*args: P.args, **kwargs: P.kwargs) -> R:
        execution = uuid.uuid4().hex
        note("start", execution)
        pass_gate(os.environ["PODIUM_TASK"])
        result = function(*args, **kwargs)
        note("end", execution, output=digest(result))
        return result

    return noted


def digest(value: object) -> str:
    """Return the SHA-256 of a value as JSON; empty when there are files in it, which are stored as something else."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except TypeError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def note(kind: str, execution: str, **more: str) -> None:
    """Append one line and wait until it is on the disk. Times are of the monotonic clock, in nanoseconds."""
    line = {
        "kind": kind,
        "execution": execution,
        "run": os.environ["PODIUM_RUN_ID"],
        "task": os.environ["PODIUM_TASK"],
        "map_index": -1,
        "attempt": int(os.environ["PODIUM_ATTEMPT"]),
        "pid": os.getpid(),
        "time": time.monotonic_ns(),
        **more,
    }
    descriptor = os.open(os.environ["PODIUM_TEST_LEDGER"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pass_gate(name: str) -> None:
    """Wait for as long as the test keeps the gate shut; a gate that was never shut is open."""
    path = Path(os.environ["PODIUM_TEST_GATES"], name)
    if path.exists():
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
