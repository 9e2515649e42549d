"""The spawner: the agent's first process, parent of all others.

Theory of operation
-------------------
The spawner has one thread, imports neither gRPC nor protobuf nor asyncio, and stays small, so that it may fork at any
time. It starts three kinds of children, each in a session of its own and bound to its life (PR_SET_PDEATHSIG):

- the *session*, which talks to the coordinator. It is started again with a growing pause when it dies. Exit code 0
  (drained), 3 (refused by the coordinator for good) and 4 (unusable settings) end the agent;
- *workers*, at the session's request. They go on with their attempts while there is no session: the listening socket
  they connect to belongs to the spawner and is handed to each session in turn, so a connection made in between waits;
- the *guardian*, which ends what a killed spawner would leave behind.

Spawner and session talk over a socket pair with one JSON message a packet. The session says `ready`, `start`, `end` and
`noted`; the spawner answers `ready` with `workers` (who lives, and who has exited), and tells of each that `exited`. An
exit is told only when the worker's whole process tree is gone: until then its resources are not free. It is told again
to each new session until one says that it is noted: a session can die with the news unread.

The spawner keeps the reading ends of each worker's output pipes. When a worker dies in the middle of an attempt, what
it last wrote is still in the pipes; the spawner saves it beside the logs, for the session to append.

SIGTERM and SIGINT drain: the first is passed to the session, which exits 0 when it is done; the second ends everything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import podium
import podium_agent
from podium_agent import guardian
from podium_agent.host import processes, trees
from podium_agent.host.launch import Launch, launch
from podium_agent.host.prctl import become_subreaper
from podium_agent.store.folder import DataFolder

FINAL_CODES = frozenset({0, 3, 4})
"""Exit codes of the session after which it is not started again."""

UNUSABLE_FOLDER = 4
FIRST_PAUSE, LONGEST_PAUSE, HEALTHY_AFTER = 0.1, 10.0, 60.0
PIPE_BYTES = 1 << 20
PACKET_LIMIT = 128 * 1024
ENDING_POLL, STRAY_POLL = 0.01, 0.1

WORKER_BOOT = (
    "import sys;sys.path.extend(sys.argv[2:]);del sys.argv[2:];"
    "from podium_agent.worker import main;main(sys.argv.pop())"
)


@dataclass(slots=True)
class Worker:
    """A worker's process tree and the reading ends of its output pipes."""

    tree: trees.Tree
    outputs: tuple[int, int]


@dataclass(slots=True)
class SessionProcess:
    """The session, or the time (monotonic) when the next one is due."""

    pid: int = 0
    channel: socket.socket | None = None
    started: float = 0.0
    due: float = 0.0
    pause: float = FIRST_PAUSE
    listens: bool = False
    backlog: deque[bytes] = field(default_factory=deque)


class Spawner:
    """See the module's theory of operation."""

    def __init__(self, folder: DataFolder, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        self._agent_id = folder.agent_id()
        self._start_id = uuid.uuid4().hex
        self._workers: dict[str, Worker] = {}
        self._exits: dict[str, int] = {}
        self._session = SessionProcess()
        self._terms = 0
        self._terms_obeyed = 0
        self._exit_code: int | None = None
        self._guardian = 0
        self._guardian_pipe = os.pipe()
        self._wake, self._waker = os.pipe()

    def run(self) -> int:
        """Work until the session ends for good or a second SIGTERM; return the agent's exit code."""
        self._prepare()
        while self._exit_code is None or self._workers:
            self._wait()
            self._obey_terms()
            self._reap()
            self._advance()
            self._keep_session()
        return self._exit_code

    def _prepare(self) -> None:
        become_subreaper()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._note_term)
        left = processes.end_marked(self._agent_id, spare=self._start_id)
        if left:
            say(f"ended {left} processes that an earlier start of this agent left behind")
        self._start_guardian()
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        path = self._folder.socket_folder() / "session.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1024)
        return listener

    def _start_guardian(self) -> None:
        watched, kept = self._guardian_pipe
        self._guardian = guardian.start(self._agent_id, self._start_id, kept, watched)

    # Waiting

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        channel = self._session.channel
        if channel is not None:
            poll.register(channel, select.POLLIN | (select.POLLOUT if self._session.backlog else 0))
        events = dict(poll.poll(self._patience()))
        if self._wake in events:
            os.read(self._wake, 4096)
        if channel is not None and channel.fileno() in events:
            self._serve_session(channel)

    def _patience(self) -> float | None:
        """Return how long to wait at most, in milliseconds."""
        now = time.monotonic()
        waits = [max(0.0, self._session.due - now)] if self._session_is_due_later() else []
        for worker in self._workers.values():
            deadline = worker.tree.deadline
            if deadline is not None:
                waits.append(ENDING_POLL if now >= deadline else min(STRAY_POLL, deadline - now))
        return min(waits) * 1000 if waits else None

    def _session_is_due_later(self) -> bool:
        return self._session.pid == 0 and self._exit_code is None

    # Children

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._session.pid:
            self._session_ended(os.waitstatus_to_exitcode(status))
        elif pid == self._guardian and self._exit_code is None:
            self._start_guardian()
        for worker in self._workers.values():
            if worker.tree.pid == pid:
                worker.tree.reaped(status, time.monotonic())

    def _advance(self) -> None:
        ending = {name: worker for name, worker in self._workers.items() if worker.tree.ending}
        if not ending:
            return
        living = processes.living()
        known = {self._session.pid, self._guardian, *(worker.tree.pid for worker in self._workers.values())}
        stray = trees.strays(os.getpid(), known, living, [worker.tree for worker in self._workers.values()])
        now = time.monotonic()
        for name, worker in ending.items():
            orphans = stray if worker.tree.status is not None else []
            if worker.tree.advance(now, living, orphans):
                self._forget(name, worker)

    def _forget(self, name: str, worker: Worker) -> None:
        del self._workers[name]
        for descriptor, suffix in zip(worker.outputs, ("out", "err"), strict=True):
            save_rest(descriptor, self._folder.logs / f"{name}.{suffix}")
            os.close(descriptor)
        self._exited(name, os.waitstatus_to_exitcode(worker.tree.status or 0))

    def _exited(self, name: str, code: int) -> None:
        self._exits[name] = code
        self._tell({"event": "exited", "worker": name, "code": code})

    def _try_to_start(self, name: str) -> None:
        try:
            self._start_worker(name)
        except OSError as error:
            say(f"cannot start a worker: {error}")
            self._exited(name, 127)

    def _start_worker(self, name: str) -> None:
        outputs = output_pipe(), output_pipe()
        config = {
            "worker": name,
            "socket": str(self._folder.socket_folder() / "session.sock"),
            "journal": str(self._folder.journal),
            "scratch": str(self._folder.scratch / name),
            "logs": str(self._folder.logs),
            "files": str(self._folder.files),
            "outputs": [read_end for read_end, _ in outputs],
            **self._settings["worker"],
        }
        order = Launch(
            argv=[self._settings["python"], "-P", "-c", WORKER_BOOT, json.dumps(config), *import_roots()],
            environment=self._environment(),
            stdout=outputs[0][1],
            stderr=outputs[1][1],
            keep=[read_end for read_end, _ in outputs],
            subreaper=True,
        )
        pid = launch(order)
        for _, write_end in outputs:
            os.close(write_end)
        self._workers[name] = Worker(trees.Tree(pid), (outputs[0][0], outputs[1][0]))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, processes.MARK: f"{self._agent_id}:{self._start_id}"}

    # The session

    def _keep_session(self) -> None:
        if self._session_is_due_later() and time.monotonic() >= self._session.due:
            self._start_session()

    def _start_session(self) -> None:
        session = self._session
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        descriptors = [theirs.fileno(), self._listener.fileno()]
        session.pid = launch(
            Launch(
                argv=[
                    sys.executable,
                    "-P",
                    "-m",
                    "podium_agent.session",
                    str(self._folder.root),
                    *map(str, descriptors),
                ],
                environment=self._environment(),
                keep=descriptors,
            )
        )
        theirs.close()
        session.channel = ours
        session.started = time.monotonic()

    def _session_ended(self, code: int) -> None:
        session = self._session
        if session.channel is not None:
            session.channel.close()
        session.pid, session.channel, session.listens = 0, None, False
        session.backlog.clear()
        if code in FINAL_CODES or self._terms > 1:
            self._finish(code if code in FINAL_CODES else 1)
            return
        if not self._folder.settings.exists():
            say(f"the data folder {self._folder.root} is gone; ending")
            self._finish(UNUSABLE_FOLDER)
            return
        now = time.monotonic()
        session.pause = FIRST_PAUSE if now - session.started > HEALTHY_AFTER else session.pause
        session.due = now + session.pause
        say(f"the session ended with code {code}; starting another in {session.pause:.1f} s")
        session.pause = min(session.pause * 2, LONGEST_PAUSE)

    def _finish(self, code: int) -> None:
        """End all workers; the loop ends when they are gone."""
        self._exit_code = code
        for worker in self._workers.values():
            worker.tree.begin(time.monotonic(), 0.0)

    def _note_term(self, *_: object) -> None:
        self._terms += 1

    def _obey_terms(self) -> None:
        if self._terms == self._terms_obeyed:
            return
        self._terms_obeyed = self._terms
        if self._session.pid:
            os.kill(self._session.pid, signal.SIGTERM if self._terms == 1 else signal.SIGKILL)
        elif self._terms > 1:
            self._finish(1)

    def _serve_session(self, channel: socket.socket) -> None:
        try:
            packet = channel.recv(PACKET_LIMIT)
        except BlockingIOError:
            packet = None
        except OSError:
            packet = b""
        if packet == b"":
            channel.close()
            self._session.channel = None
        elif packet is not None:
            self._obey(json.loads(packet))
        self._flush()

    def _obey(self, order: dict[str, Any]) -> None:
        match order["op"]:
            case "ready":
                living = {name: worker.tree.pid for name, worker in self._workers.items()}
                state = {"living": living, "exited": self._exits, "draining": self._terms > 0}
                self._session.listens = True
                self._tell({"event": "workers", **state})
            case "noted":
                self._exits.pop(order["worker"], None)
            case "start":
                self._try_to_start(order["worker"])
            case "end" if order["worker"] in self._workers:
                self._workers[order["worker"]].tree.begin(time.monotonic(), order["grace"])

    def _tell(self, event: dict[str, Any]) -> None:
        """Tell the session that listens; to one that does not listen yet, `workers` will say it."""
        if self._session.listens:
            self._session.backlog.append(json.dumps(event).encode())
        self._flush()

    def _flush(self) -> None:
        session = self._session
        while session.listens and session.backlog and session.channel is not None:
            try:
                session.channel.send(session.backlog[0])
            except BlockingIOError:
                return
            except OSError:
                session.listens = False
                return
            session.backlog.popleft()


def output_pipe() -> tuple[int, int]:
    """Make a pipe for a worker's output, as large as the host allows up to 1 MiB; neither end blocks its reader."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    try:
        import fcntl

        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        return read_end, write_end
    return read_end, write_end


def save_rest(descriptor: int, path: Path) -> None:
    """Save what a dead worker left in a pipe; nothing is written when it left nothing."""
    pieces = []
    try:
        while piece := os.read(descriptor, PIPE_BYTES):
            pieces.append(piece)
    except BlockingIOError:
        pass
    if pieces:
        try:
            path.write_bytes(b"".join(pieces))
        except OSError as error:
            say(f"the last output of a dead worker is lost: {error}")


def import_roots() -> list[str]:
    """Return where an interpreter that has no Podium of its own finds the worker's modules."""
    found = [Path(module.__file__ or "").resolve().parents[1] for module in (podium_agent, podium)]
    return [str(root) for root in dict.fromkeys(found)]


def say(text: str) -> None:
    """Write one line to stderr, if anybody is there to read it."""
    with suppress(OSError):
        sys.stderr.write(f"podium-agent spawner: {text}\n")
        sys.stderr.flush()


def main(root: str) -> None:
    """Run as the spawner of the data folder `root`, which this process has locked."""
    folder = DataFolder(Path(root))
    settings = json.loads(folder.settings.read_text())
    sys.exit(Spawner(folder, settings).run())


if __name__ == "__main__":
    main(sys.argv[1])
