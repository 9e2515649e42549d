"""Child processes: started, listened to, told to stop, waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podium.cli.lifeline import VARIABLE

Sink = Callable[[str, str], None]
"""Takes the name of a child and a line it wrote."""

KILL_AFTER = 15.0
"""Seconds between the second request to stop and SIGKILL."""

LAST_WORDS = 1.0
"""Seconds a child's pipe is read on after the child is gone."""

_LONGEST_LINE = 64 * 1024


@dataclass(slots=True)
class Child:
    """A running server. `ended` is done, with the exit code, once it is gone and all it wrote was taken."""

    name: str
    process: asyncio.subprocess.Process
    ended: asyncio.Task[int]

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.returncode is None

    def tell(self, signum: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        if self.alive:
            self.process.send_signal(signum)


async def start(name: str, command: Sequence[str], sink: Sink) -> Child:
    """Start a server in a process group of its own, so that Ctrl-C reaches only its parent."""
    heard, written = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env={**os.environ, VARIABLE: str(os.getpid())},
            process_group=0,
        )
    except BaseException:
        os.close(heard)
        raise
    finally:
        os.close(written)
    return Child(name, process, asyncio.create_task(_follow(name, process, heard, sink), name=f"follow {name}"))


async def _follow(name: str, process: asyncio.subprocess.Process, heard: int, sink: Sink) -> int:
    stream = asyncio.StreamReader(_LONGEST_LINE)
    pipe = os.fdopen(heard, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    listening = asyncio.create_task(_listen(name, stream, sink), name=f"listen to {name}")
    try:
        code = await process.wait()
        # What it left running may hold the pipe open for good.
        done, _ = await asyncio.wait({listening}, timeout=LAST_WORDS)
        for listened in done:
            listened.result()
    finally:
        listening.cancel()
        transport.close()
    return code


async def _listen(name: str, stream: asyncio.StreamReader, sink: Sink) -> None:
    while line := await _next_line(stream):
        sink(name, line.decode("utf-8", "replace").rstrip("\n"))


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line, or as much of an overlong one as the buffer holds; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)


async def stop(children: Sequence[Child], urgent: asyncio.Event) -> None:
    """Tell children to drain and wait until they are gone; once `urgent` is set tell them again, at last kill them."""
    ends = {child.ended for child in children}
    _tell(children, signal.SIGTERM)
    hurry = asyncio.create_task(urgent.wait())
    try:
        while pending := {end for end in ends if not end.done()}:
            await asyncio.wait({*pending, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if hurry.done():
                await _stop_at_once(children, pending)
    finally:
        hurry.cancel()


async def _stop_at_once(children: Sequence[Child], ends: set[asyncio.Task[int]]) -> None:
    _tell(children, signal.SIGTERM)
    _, late = await asyncio.wait(ends, timeout=KILL_AFTER)
    if late:
        _tell(children, signal.SIGKILL)
        await asyncio.wait(late)


def _tell(children: Sequence[Child], signum: signal.Signals) -> None:
    for child in children:
        child.tell(signum)
