"""Tasks that fail, hang, take too much or leave something behind."""
# ruff: noqa: T201 - printing is what some of these tasks are for

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from podium import Fail, Retry, Skip, shell, task, workflow

from .ledger import ledgered, pass_gate


class OddError(Exception):
    """An error of the project's own."""


def raises() -> None:
    """Raise."""
    raise OddError("the number 3 is odd")


def exits() -> None:
    """Leave as a script would."""
    sys.exit(3)


def dies() -> None:
    """Leave without a word."""
    print("last words")
    pass_gate("last-words")
    os._exit(5)


def killed() -> None:
    """Be killed, as by the kernel when memory is short."""
    print("last words")
    pass_gate("last-words")
    os.kill(os.getpid(), signal.SIGKILL)


def generates() -> Any:
    """Return a generator."""
    return (number for number in range(3))


def returns_object() -> Any:
    """Return what is no JSON, deep within."""
    return {"rows": [1, {"when": object()}]}


def returns_nan() -> Any:
    """Return a number that JSON does not have."""
    return [1.0, float("nan")]


def returns_bytes() -> Any:
    """Return bytes."""
    return b"abc"


def returns_no_file() -> Any:
    """Return the path of a file that does not exist."""
    from pathlib import Path

    return Path("missing.csv")


def returns_too_much() -> Any:
    """Return more than the agents of these tests allow."""
    return "x" * (3 << 20)


def gives_up() -> None:
    """Fail for good."""
    raise Fail("There is no such day.")


def is_not_needed() -> None:
    """Skip."""
    raise Skip("Nothing to do.")


def forks_and_stays() -> str:
    """Leave children behind that outlive the task, one of them in a session of its own."""
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        os._exit(0)
    return "done"


TROUBLES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        raises,
        exits,
        dies,
        killed,
        generates,
        returns_object,
        returns_nan,
        returns_bytes,
        returns_no_file,
        returns_too_much,
        gives_up,
        is_not_needed,
        forks_and_stays,
    )
}


@task(cpu=0.5)
def get_into(kind: str) -> Any:
    """Get into one kind of trouble."""
    return TROUBLES[kind]()


@workflow
def trouble(kind: str) -> None:
    """One task that gets into trouble."""
    get_into(kind)


@task(cpu=0.5, retries=2, delay=0.01)
@ledgered
def third_time() -> int:
    """Succeed the third time."""
    attempt = int(os.environ["PODIUM_ATTEMPT"])
    if attempt == 1:
        raise OddError("the first time")
    if attempt == 2:
        raise Retry("the second time", after=0.01)
    return attempt


@workflow
def retried() -> None:
    """A task that needs its retries, and one after it."""
    third_time()


TREE = """
echo started
sleep 1000 &
setsid sleep 1000 &
sh -c 'trap "" TERM; setsid sh -c "trap : TERM; sleep 1000; sleep 1000" & wait; wait; sleep 1000' &
wait
"""


@workflow
def process_tree() -> None:
    """A tree of processes, some in sessions of their own, some deaf to SIGTERM."""
    shell(TREE, key="tree", cpu=0.5) >> shell("true", key="after", cpu=0.5)


@workflow
def too_slow() -> None:
    """A task with a timeout of its own, and one that is not reached."""
    shell("echo started; sleep 1000", key="slow", cpu=0.5, timeout=0.5) >> shell("true", key="after", cpu=0.5)


@workflow(timeout=1.5)
def too_slow_in_all() -> None:
    """A run that takes too long."""
    shell("echo started; sleep 1000", key="slow", cpu=0.5) >> shell("true", key="after", cpu=0.5)


@task(cpu=0.5)
def talks(word: str) -> str:
    """Print, wait at a gate, and print again."""
    print(f"before {word}")
    print("to stderr", file=sys.stderr)
    pass_gate("talking")
    print(f"after {word}")
    return word


@workflow
def talking(word: str) -> None:
    """A task whose log is read while it runs."""
    talks(word)


@workflow
def talking_on_a3(word: str) -> None:
    """The same on the third agent."""
    talks.options(labels={"name": "a3"})(word)


@task(cpu=0.5, labels={"name": "a3"})
def prints(lines: int) -> None:
    """Print some lines."""
    for number in range(lines):
        print(f"line {number}")


@workflow
def prints_on_a3(lines: int) -> None:
    """A task that prints on the third agent."""
    prints(lines)


@workflow
def prints_a_gigabyte(size: int = 1 << 30) -> None:
    """A task that prints far too much, with a first and a last line of its own."""
    shell(
        "echo the first line; yes 0123456789abcdef | head -c $SIZE; echo; echo the last line",
        env={"SIZE": size},
        key="prints",
        cpu=0.5,
    )
