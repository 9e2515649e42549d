"""Starts a process out of the spawner: fork and exec, with what must be set between the two.

Only for a process with one thread that has never used gRPC. `subprocess` is left out on purpose: it would add its own
waiting and locks to a process whose job is to wait for children.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from podium_agent.host import prctl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

RESTORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start; `keep` are descriptors it inherits under their own numbers."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    stdout: int = 1
    stderr: int = 2
    keep: Sequence[int] = field(default_factory=tuple)
    subreaper: bool = False


def launch(order: Launch) -> int:
    """Start the process in a session of its own, tied to this one's life; return its id.

    A program that cannot be executed shows as an exit with code 127.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, parent)
    return pid


def _become(order: Launch, parent: int) -> NoReturn:
    try:
        os.setsid()
        prctl.die_with_parent(parent, signal.SIGKILL)
        if order.subreaper:
            prctl.become_subreaper()
        for signum in RESTORED:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _connect_streams(order)
        os.execve(order.argv[0], list(order.argv), dict(order.environment))  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"podium-agent: cannot start {order.argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _connect_streams(order: Launch) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(order.stdout, 1)
    os.dup2(order.stderr, 2)
    for descriptor in order.keep:
        os.set_inheritable(descriptor, True)
