"""Starts a cluster that stays up without a terminal, and stops it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from podium.cli.local import lock
from podium.cli.local.cluster import ServerEndedError
from podium.cli.local.plan import Plan
from podium.errors import ConflictError


def start(plan: Plan) -> None:
    """Start the cluster in a session of its own and return once it is ready.

    Raises:
        ConflictError: A cluster is up in that folder already, or the port is taken.
        ServerEndedError: It did not become ready; the log tells why.
        OSError: The folder cannot be written.
    """
    plan.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if lock.holder(plan.data_dir):
        raise ConflictError(f"A cluster is up in {plan.data_dir} already.", data_dir=str(plan.data_dir))
    plan.check_port()
    heard, told = os.pipe()
    with os.fdopen(heard, "rb") as pipe, plan.log.open("ab") as log:
        process = subprocess.Popen(
            plan.background_command(told),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[told],
            start_new_session=True,
        )
        os.close(told)
        if not pipe.read():
            code = process.wait()
            message = f"The cluster ended with exit code {code} before it was ready; {plan.log} tells why."
            raise ServerEndedError(message, log=str(plan.log))


def tell_ready(ready_fd: int) -> None:
    """Tell the process that waits in `start` that the cluster is ready."""
    with os.fdopen(ready_fd, "wb") as pipe:
        pipe.write(b"ready")


def stop(data_dir: Path, seconds: float, now: bool) -> bool:
    """Stop the folder's cluster and return once it is gone; False when none was up.

    Args:
        data_dir: The cluster's folder.
        seconds: How long to wait.
        now: Do not let attempts under way end.

    Raises:
        TimeoutError: It is still stopping.
    """
    holder = lock.holder(data_dir)
    if holder is None:
        return False
    os.kill(holder.pid, signal.SIGTERM)
    if now:
        os.kill(holder.pid, signal.SIGINT)  # another signal: two of the same kind may be delivered as one
    try:
        lock.wait_until_free(data_dir, seconds)
    except TimeoutError:
        raise TimeoutError(f"The cluster in {data_dir} is still stopping after {seconds:g} s.") from None
    return True
