"""A worker: a warm Python process that executes one attempt at a time.

Theory of operation
-------------------
The spawner starts it; it connects to the session, says hello and takes orders, one at a time, of those that lie ready
for it (see executors.connection). An order names the action, where its bundle is unpacked, and carries parameters and
upstream outputs as JSON. For each attempt the worker

1. notes START in its journal (if it cannot, it refuses the attempt: nothing has begun yet),
2. sets the attempt's environment, in a scratch folder that is the working folder,
3. executes the action, while the capturing thread takes stdout and stderr into the attempt's log,
4. ends every process the attempt left behind, so that what the attempt held is free when its end is told,
5. notes the end with the result in its journal, and only then tells the session (see executors.ledger).

What an attempt did not touch is not restored after it: each step first looks, with one system call at most, whether
there is anything to do.

A worker belongs to the first bundle it executes from, whose modules stay loaded; the session gives it no other.

SIGTERM asks for the attempt's end: in a python action it raises `Terminated` in the main thread, so that the task's own
clean-up runs (the spawner repeats SIGTERM, should that be swallowed, as in a destructor); a shell action's program gets
its own SIGTERM from the spawner. Either way the worker reports and ends.
When SIGTERM comes between attempts the worker ends at once. It ends by os._exit: what user code left behind in threads
and exit handlers must not keep it.

Standard library and Podium's own modules only: user code shares this interpreter.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import RejectedInputError
from podium_agent import records
from podium_agent.executors import outcome, python, shell
from podium_agent.executors.capture import Capture
from podium_agent.executors.connection import NO_TICKET, Connection
from podium_agent.executors.ledger import Ended, Ledger
from podium_agent.executors.products import Products
from podium_agent.executors.shared import NO_ARGUMENTS, Shared, bundle_root, read_shared
from podium_agent.executors.tracing import AttemptTracing
from podium_agent.executors.values import read_inputs
from podium_agent.host import processes
from podium_agent.store.journal import JournalWriter
from podium_agent.store.logs import LogWriter

if TYPE_CHECKING:
    from podium_agent.executors.outcome import Outcome
    from podium_agent.frames import Header
    from podium_agent.records import Task

REAP_PATIENCE = 5.0
COARSE_NANOSECONDS = 20_000_000
"""How far the times of files may lag behind the clock: more than a tick of any kernel."""


class Terminated(BaseException):
    """The attempt is to end: raised in the task's code by SIGTERM."""


class Worker:
    """See the module's theory of operation."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._scratch = Scratch(Path(config["scratch"]))
        self._orders: dict[int, Shared] = {}
        self._journal = JournalWriter(Path(config["journal"]), config["worker"])
        self._connection = Connection(config["socket"], {"worker": config["worker"], "pid": os.getpid()}, self._share)
        self._ledger = Ledger(self._journal, self._connection)
        self._capture = Capture(tuple(config["outputs"]), self)
        self._functions = python.Functions()
        self._tracing = AttemptTracing()
        self._usage = Usage()
        self._bundle = ""
        self._current: tuple[Task, Shared] | None = None
        self._executing = False
        self._interruptible = False
        self._terminated = False
        self._handler = self._on_term
        self._pid = os.getpid()

    def run(self) -> None:
        """Serve until told to exit."""
        self._scratch.enter()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
        signal.signal(signal.SIGTERM, self._handler)
        self._tracing.prepare()
        self._connection.connect()
        self._capture.start()
        while not self._terminated and self._serve_next():
            continue
        self._ledger.catch_up()

    # What the capturing thread asks for

    def fileno(self) -> int:
        """Return the descriptor of the connection to watch."""
        return self._connection.fileno()

    def hung_up(self) -> None:
        """The session is gone."""
        self._connection.lost()

    def log_grew(self, size: int) -> None:
        """Tell the session to read the attempt's log on."""
        current = self._current
        if current is not None:
            self._connection.tell({"op": "log", "token": current[0].name[0].hex(), "size": size})

    # Orders

    def _share(self, header: Header, body: bytes) -> None:
        if "order" in header:
            self._orders[header["order"]] = read_shared(header, body)
        else:
            self._orders.clear()
            self._journal.forget_orders()

    def _serve_next(self) -> bool:
        """Execute the next attempt, or wait; return whether to go on."""
        ticket = self._connection.ticket()
        if ticket == NO_TICKET:
            self._ledger.catch_up()
            self._connection.wait()
            return True
        if ticket == records.EXIT:
            return False
        task = self._connection.task(ticket)
        if task is not None and not self._terminated:
            self._serve(task, self._orders[task.name[1]])
        return True

    # One attempt

    def _serve(self, task: Task, shared: Shared) -> None:
        began = time.time_ns()
        started = began // 1000
        self._executing = True
        if self._ledger.begin(task, shared, started):
            self._connection.begin()
            self._current = task, shared
            ended = self._attempt(task, shared)
            log = self._capture.end()
            duration = max(time.time_ns() // 1000 - started, 0)
            cpu, peak = self._usage.since_last()
            self._trace_end(ended)
            self._ledger.ended(Ended(task, started, duration, cpu, ended.peak_memory_bytes or peak, ended, log))
            self._current = None
            self._connection.end()
        self._executing = False
        self._scratch.tidy(began)

    def _attempt(self, task: Task, shared: Shared) -> Outcome:
        """Execute, and end what is left."""
        if signal.getsignal(signal.SIGTERM) is not self._handler:
            signal.signal(signal.SIGTERM, self._handler)
        self._capture.begin(self._open_log)
        self._usage.begin()
        self._set_environment(shared.environment(task))
        ended = self._execute(task, shared)
        if not processes.end_descendants(REAP_PATIENCE):
            sys.stderr.write("podium-worker: processes of an attempt could not be ended\n")
            self._terminated = True
        return ended

    def _set_environment(self, wanted: dict[bytes, bytes]) -> None:
        if wanted[b"TRACEPARENT"]:
            self._trace_begin(wanted)
        present = os.environb
        for name, value in wanted.items():
            if present.get(name) != value:
                present[name] = value

    def _trace_begin(self, wanted: dict[bytes, bytes]) -> None:
        environment = {name.decode(): value.decode() for name, value in wanted.items()}
        self._tracing.begin(environment)
        wanted[b"TRACEPARENT"] = environment["TRACEPARENT"].encode()

    def _trace_end(self, ended: Outcome) -> None:
        spans = self._tracing.end(ended)
        if spans:
            self._connection.tell({"op": "spans"}, spans)

    def _execute(self, task: Task, shared: Shared) -> Outcome:
        try:
            return self._caught(task, shared)
        except Terminated:
            message = outcome.describe_exit("The task", -signal.SIGTERM)
            return outcome.failed("exit_code", message, exit_code=-signal.SIGTERM)
        finally:
            self._interruptible = False

    def _caught(self, task: Task, shared: Shared) -> Outcome:
        try:
            if shared.bundle and shared.bundle != self._bundle:
                python.use_bundle(Path(shared.bundle_folder))
                self._bundle = shared.bundle
            return self._act(task, shared)
        except Terminated:
            raise
        except RejectedInputError as error:
            return outcome.failed("rejected_input", error.message)
        except SystemExit as error:
            return called_exit(error)
        except BaseException as error:  # noqa: BLE001 - whatever the task's code raises ends the attempt, not the worker
            return outcome.raised(error)

    def _act(self, task: Task, shared: Shared) -> Outcome:
        scratch = self._scratch.folder
        if shared.function and shared.no_arguments and not task.arguments:
            return self._call(shared.function, NO_ARGUMENTS, Products(self._files, scratch, {}, self._config))
        bindings, params = shared.bindings(task)
        inputs, files = read_inputs(params, task.extra, scratch / "inputs")
        if not shared.function:
            environment = inputs.environment(shared.action)
            self._check_wanted()
            return shell.execute(shared.action, environment, bundle_root(shared))
        args, kwargs = inputs.arguments(bindings)
        products = Products(self._files, scratch, files.given, self._config)
        return self._call(shared.function, {"args": args, "kwargs": kwargs}, products)

    def _call(self, name: str, arguments: dict[str, Any], products: Products) -> Outcome:
        self._interruptible = True
        self._check_wanted()
        try:
            function = self._functions.get(name)
        except python.FunctionError as error:
            return outcome.failed("user_error", str(error))
        result = function(*arguments["args"], **arguments["kwargs"])
        self._interruptible = False
        if os.getpid() != self._pid:
            os._exit(0)  # a process that the task forked came back from it: there is one worker, and this is not it
        return products.deliver(result)

    def _check_wanted(self) -> None:
        if self._terminated:
            raise Terminated

    def _open_log(self) -> LogWriter:
        assert self._current is not None  # noqa: S101 - an attempt is under way
        task, shared = self._current
        path = Path(self._config["logs"], f"{shared.stem(task)}.log")
        return LogWriter(path, self._config["log_head"], self._config["log_tail"])

    def _files(self) -> Path:
        assert self._current is not None  # noqa: S101 - an attempt is under way
        return Path(self._config["files"], self._current[0].name[0].hex())

    def _on_term(self, *_: object) -> None:
        if not self._executing and not self._ledger.owes:
            os._exit(0)
        self._terminated = True
        if self._interruptible and not is_unwinding():
            raise Terminated


class Scratch:
    """The worker's own folder, where each attempt begins, and finds nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inode = self._changed = 0

    def enter(self) -> None:
        """Make it, and make it the working folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(self.folder)

    def tidy(self, began: int) -> None:
        """Empty it, and come back to it, if an attempt that began then (ns since the Unix epoch) may have changed that.

        Whatever appears in a folder or leaves it changes the folder's ctime, which nobody can set.
        """
        try:
            found = os.stat(".")  # noqa: PTH116 - no Path object for each attempt
        except OSError:
            self._empty()
            return
        changed = found.st_ctime_ns
        if found.st_ino != self._inode or changed != self._changed or changed >= began - COARSE_NANOSECONDS:
            self._empty()

    def _empty(self) -> None:
        self.enter()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)  # noqa: PTH108 - an entry is at hand, not a Path
        found = self.folder.stat()
        self._inode, self._changed = found.st_ino, found.st_ctime_ns


def is_unwinding() -> bool:
    """Whether the interrupted code is cleaning up after a `Terminated`: one that was swallowed is raised again."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Terminated):
            return True
        error = error.__context__
    return False


def called_exit(error: SystemExit) -> Outcome:
    """Return the failure that leaving by sys.exit means."""
    told = outcome.raised(error)
    message = f"The task called sys.exit({error.code!r}); return a value, or raise podium.Fail or podium.Skip."
    if told.failure is not None:
        told.failure["message"] = message
    return told


class Usage:
    """What attempts use: processor time, and the most memory this process held at once where the kernel can tell.

    The kernel's mark of the most memory is set back only when an attempt has moved it by more than `TOLERANCE` KiB.
    """

    TOLERANCE = 1024

    def __init__(self) -> None:
        try:
            self._descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1
        self._floor = 0
        self._cpu, self._peak = cpu_and_peak()

    def begin(self) -> None:
        """An attempt begins."""
        if self._descriptor >= 0 and self._peak > self._floor + self.TOLERANCE:
            os.pwrite(self._descriptor, b"5", 0)
            self._cpu, self._floor = cpu_and_peak()

    def since_last(self) -> tuple[int, int]:
        """Return processor time since the attempt before (us), and peak memory in bytes, 0 when it cannot be told."""
        before = self._cpu
        self._cpu, self._peak = cpu_and_peak()
        return int((self._cpu - before) * 1e6), self._peak * 1024 if self._descriptor >= 0 else 0


def cpu_and_peak() -> tuple[float, int]:
    """Return the seconds of processor time of this process and the children it has waited for, and its peak in KiB."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, own.ru_maxrss


def main(config: str) -> None:
    """Run a worker; `config` is JSON from the spawner."""
    sys.argv = ["podium-worker"]
    Worker(json.loads(config)).run()
    os._exit(0)
