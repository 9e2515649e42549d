"""A worker: a warm Python process that executes one attempt at a time.

Theory of operation
-------------------
The spawner starts it; it connects to the session, says hello and waits for orders. An order names the action, where its
bundle is unpacked, and carries parameters and upstream outputs as JSON. For each attempt the worker

1. notes START in its journal (if it cannot, it refuses the attempt: nothing has begun yet),
2. changes to a scratch folder and sets the attempt's environment,
3. executes the action, while the capturing thread takes stdout and stderr into the attempt's log,
4. ends every process the attempt left behind, so that what the attempt held is free when its end is told,
5. notes FINISH with the result in its journal, and only then tells the session.

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
from podium_agent import frames
from podium_agent.executors import outcome, python, shell
from podium_agent.executors.capture import Capture
from podium_agent.executors.connection import Connection
from podium_agent.executors.products import Products
from podium_agent.executors.tracing import AttemptTracing
from podium_agent.executors.values import LocalFiles, read_inputs
from podium_agent.host import processes
from podium_agent.store.journal import JournalWriter
from podium_agent.store.logs import LogWriter, discard

if TYPE_CHECKING:
    from podium_agent.executors.outcome import Outcome
    from podium_agent.frames import Header

REAP_PATIENCE = 5.0


class Terminated(BaseException):
    """The attempt is to end: raised in the task's code by SIGTERM."""


class Worker:
    """See the module's theory of operation."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._scratch = Path(config["scratch"])
        self._journal = JournalWriter(Path(config["journal"]), config["worker"])
        self._connection = Connection(config["socket"], {"worker": config["worker"], "pid": os.getpid()})
        self._capture = Capture(tuple(config["outputs"]), self)
        self._bundle = ""
        self._token = ""
        self._executing = False
        self._interruptible = False
        self._terminated = False
        self._peak = PeakMemory()
        self._tracing = AttemptTracing()

    def run(self) -> None:
        """Serve until told to exit."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(self._scratch)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
        signal.signal(signal.SIGTERM, self._on_term)
        self._connection.connect()
        self._capture.start()
        while True:
            order, body = self._connection.receive()
            if order["op"] == "exit":
                return
            self._serve(order, body)
            if self._terminated:
                return

    # What the capturing thread asks for

    def fileno(self) -> int:
        """Return the descriptor of the connection to watch."""
        return self._connection.fileno()

    def hung_up(self) -> None:
        """The session is gone."""
        self._connection.lost()

    def log_grew(self, size: int) -> None:
        """Tell the session to read the attempt's log on."""
        self._connection.tell({"op": "log", "token": self._token, "size": size})

    # One attempt

    def _serve(self, order: Header, body: bytes) -> None:
        holding = order["holding"]
        self._token = holding["token"]
        try:
            self._journal.start(holding)
        except OSError as error:
            self._connection.finish(frames.pack({"op": "refused", "token": self._token, "reason": str(error)}))
            return
        self._executing = True
        self._connection.begin(holding)
        ended, log, facts = self._attempt(order, body)
        spans = self._tracing.end(ended)
        if spans:
            self._connection.tell({"op": "spans"}, spans)
        self._report({**holding, **facts}, ended, log)
        self._executing = False
        self._tidy()

    def _attempt(self, order: Header, body: bytes) -> tuple[Outcome, LogWriter, Header]:
        """Execute, end what is left, and close the log; return also what was measured."""
        log = LogWriter(Path(order["log"]), self._config["log_head"], self._config["log_tail"])
        signal.signal(signal.SIGTERM, self._on_term)
        self._capture.begin(log)
        self._peak.reset()
        cpu_before = cpu_seconds()
        self._tracing.begin(order["environment"])
        ended = self._execute(order, body)
        if not processes.end_descendants(REAP_PATIENCE):
            sys.stderr.write("podium-worker: processes of an attempt could not be ended\n")
            self._terminated = True
        self._capture.end()
        facts = {
            "ended_at": time.time(),
            "cpu_seconds": cpu_seconds() - cpu_before,
            "peak_memory_bytes": ended.peak_memory_bytes or self._peak.read(),
        }
        return ended, log, facts

    def _execute(self, order: Header, body: bytes) -> Outcome:
        try:
            return self._caught(order, body)
        except Terminated:
            message = outcome.describe_exit("The task", -signal.SIGTERM)
            return outcome.failed("exit_code", message, exit_code=-signal.SIGTERM)
        finally:
            self._interruptible = False

    def _caught(self, order: Header, body: bytes) -> Outcome:
        try:
            self._enter(order)
            return self._act(order, body)
        except Terminated:
            raise
        except RejectedInputError as error:
            return outcome.failed("rejected_input", error.message)
        except SystemExit as error:
            return called_exit(error)
        except BaseException as error:  # noqa: BLE001 - whatever the task's code raises ends the attempt, not the worker
            return outcome.raised(error)

    def _enter(self, order: Header) -> None:
        os.environ.update(order["environment"])
        if order["bundle"] and order["bundle"] != self._bundle:
            python.use_bundle(Path(order["bundle_folder"]))
            self._bundle = order["bundle"]

    def _act(self, order: Header, body: bytes) -> Outcome:
        action, files = order["action"], LocalFiles(self._scratch / "inputs", order["blobs"])
        inputs = read_inputs(order, body, files)
        if "function" not in action:
            base = Path(order["bundle_folder"]) if order["bundle_folder"] else None
            environment = inputs.environment(action)
            self._check_wanted()
            return shell.execute(action, environment, base)
        args, kwargs = inputs.arguments(action)
        products = Products(Path(order["files"]), self._scratch, files.given, self._config)
        return self._call(action["function"], args, kwargs, products)

    def _call(self, name: str, args: list[Any], kwargs: dict[str, Any], products: Products) -> Outcome:
        self._interruptible = True
        self._check_wanted()
        try:
            function = python.load(name)
        except python.FunctionError as error:
            return outcome.failed("user_error", str(error))
        result = function(*args, **kwargs)
        self._interruptible = False
        return products.deliver(result)

    def _check_wanted(self) -> None:
        if self._terminated:
            raise Terminated

    def _report(self, facts: Header, ended: Outcome, log: LogWriter) -> None:
        small = log.small() or b""
        header = {**facts, **ended.fields(), "log_bytes": log.size, "log_inline": len(small)}
        header.update(op="finished", journal=self._journal.file)
        frame = frames.pack(header, ended.output + small)
        try:
            self._journal.finish(frame)
        except OSError as error:
            frame = frames.pack({**header, "unkept": str(error)}, ended.output + small)
        else:
            if small and log.on_disk:
                discard(log.path)
        self._connection.finish(frame)

    def _tidy(self) -> None:
        """Empty the scratch folder, and come back to it."""
        os.chdir(self._scratch)
        with os.scandir(self._scratch) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)  # noqa: PTH108 - an entry is at hand, not a Path

    def _on_term(self, *_: object) -> None:
        if not self._executing:
            os._exit(0)
        self._terminated = True
        if self._interruptible and not is_unwinding():
            raise Terminated


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


class PeakMemory:
    """The most memory this process held at once since the last reset, where the kernel can tell."""

    def __init__(self) -> None:
        try:
            self._descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def reset(self) -> None:
        """Measure anew."""
        if self._descriptor >= 0:
            os.pwrite(self._descriptor, b"5", 0)

    def read(self) -> int:
        """Return the peak in bytes; 0 when it cannot be told from earlier attempts'."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if self._descriptor >= 0 else 0


def cpu_seconds() -> float:
    """Return the processor time that this process and the children it has waited for have used."""
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(figure.ru_utime + figure.ru_stime for figure in used)


def main(config: str) -> None:
    """Run a worker; `config` is JSON from the spawner."""
    sys.argv = ["podium-worker"]
    Worker(json.loads(config)).run()
    os._exit(0)
