"""What a cluster uses: processor time by part, bytes of write-ahead log, memory, spans."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from benchmarks.spread import Figure, figure

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PARTS = ("coordinator", "agent session", "agent spawner", "workers", "postgres", "span collector", "client")


def cpu_ns(pid: int) -> int:
    """Return the processor time a process has used, in nanoseconds; 0 once it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)  # CLOCK_PROCESS_CPUTIME_ID of another process
    except OSError:
        return 0


def reaped_ns(pid: int) -> int:
    """Return the processor time of the children that a process has collected."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) * TICK_NS if fields else 0


def parents() -> dict[int, int]:
    """Return the parent of each process of this machine."""
    found = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    return {pid: int(fields[1]) for pid, fields in found.items() if fields}


def tree(root: int, parent_of: dict[int, int]) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield root
    for pid, parent in parent_of.items():
        if parent == root:
            yield from tree(pid, parent_of)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory a process has held (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Roots:
    """The processes a cluster descends from; `spans` is where the collector counts."""

    coordinator: int
    postgres: int
    agents: tuple[int, ...]
    collector: int
    spans: Path
    conninfo: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was used so far; `cpu` in nanoseconds by part."""

    cpu: Counter[str]
    wal: int
    spans: int
    exports: int
    transactions: int
    at: float

    def __sub__(self, before: Reading) -> Reading:
        cpu = Counter({part: self.cpu[part] - before.cpu[part] for part in self.cpu})
        return Reading(
            cpu,
            self.wal - before.wal,
            self.spans - before.spans,
            self.exports - before.exports,
            self.transactions - before.transactions,
            self.at - before.at,
        )


class Meter:
    """Reads what a cluster uses. One connection of its own to the database, which does not count its statements."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.link = psycopg.connect(roots.conninfo, autocommit=True)
        self._own = 0

    def close(self) -> None:
        self.link.close()

    def query(self, statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        self._own += 1
        cursor = self.link.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def read(self) -> Reading:
        parent_of = parents()
        cpu: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
        for part, pid in self._processes(parent_of):
            cpu[part] += cpu_ns(pid)
        for part, pid in self._collecting(parent_of):
            cpu[part] += reaped_ns(pid)
        wal, transactions = self.query(
            "SELECT pg_current_wal_lsn() - '0/0', xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )[0]
        spans, exports = self._spans()
        return Reading(cpu, int(wal), spans, exports, int(transactions) - self._own, time.monotonic())

    def _processes(self, parent_of: dict[int, int]) -> Iterator[tuple[str, int]]:
        roots = self.roots
        yield from (("coordinator", roots.coordinator), ("span collector", roots.collector), ("client", os.getpid()))
        yield from (("postgres", pid) for pid in tree(roots.postgres, parent_of))
        for agent in roots.agents:
            for pid in tree(agent, parent_of):
                yield _part_of_agent(pid), pid

    def _collecting(self, parent_of: dict[int, int]) -> Iterator[tuple[str, int]]:
        """Yield the processes whose children come and go, and what those are."""
        yield "postgres", self.roots.postgres
        for agent in self.roots.agents:
            yield from (("workers", pid) for pid in tree(agent, parent_of) if _part_of_agent(pid) == "agent spawner")

    def _spans(self) -> tuple[int, int]:
        data = self.roots.spans.read_bytes() if self.roots.spans.exists() else b""
        spans, exports = struct.unpack(">QQ", data) if len(data) == 16 else (0, 0)
        return int(spans), int(exports)


def _part_of_agent(pid: int) -> str:
    words = command(pid)
    if "podium_agent.session" in words:
        return "agent session"
    return "agent spawner" if "podium_agent.spawner" in words else "workers"


def per_task(spent: list[Reading], tasks: int) -> dict[str, Figure]:
    """Return what each task has cost, by part; one reading per repeat."""
    costs = {
        f"{part} CPU": figure("us", [reading.cpu[part] / tasks / 1000 for reading in spent])
        for part in PARTS
        if any(reading.cpu[part] for reading in spent)
    }
    costs["all CPU"] = figure("us", [sum(reading.cpu.values()) / tasks / 1000 for reading in spent])
    costs["WAL"] = figure("bytes", [reading.wal / tasks for reading in spent])
    costs["spans"] = figure("count", [reading.spans / tasks for reading in spent])
    costs["span exports"] = figure("count", [reading.exports / tasks for reading in spent])
    return costs
