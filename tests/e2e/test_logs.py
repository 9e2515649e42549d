"""Logs of attempts: followed while they run, read when their agent is gone, and bounded whatever a task prints."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import psutil

from podium.logformat import LogStream
from podium.model.states import RunState
from tests.cluster import harm
from tests.cluster.cluster import AgentPlan, Cluster
from tests.cluster.witness import Witness

RUN_SECONDS = 30.0
GIGABYTE_SECONDS = 90.0
HEAD = TAIL = 1 << 20
MOST_MEMORY = 200 << 20
"""Bytes any one process of the agent may hold while a task prints a gigabyte."""
MOST_DISK = 16 << 20


async def read(witness: Witness, run_id: str, task: str, stream: LogStream | None = None) -> bytes:
    entries = [entry async for entry in witness.client.read_log(run_id, task)]
    return b"".join(entry.data for entry in entries if stream in (None, entry.stream))


async def test_a_log_is_read_and_followed_while_its_task_runs(cluster: Cluster, witness: Witness) -> None:
    cluster.gates.shut("talking")
    run = await witness.client.run("talking", word="hello")
    seen = b""
    async with asyncio.timeout(RUN_SECONDS):
        async for entry in witness.client.tail_log(run.run_id, "talks"):
            seen += entry.data
            if b"to stderr" in seen and b"before hello\n" in seen and "talking" in cluster.gates.names:
                assert b"before hello" in await read(witness, run.run_id, "talks")
                cluster.gates.open("talking")
    assert seen.endswith(b"after hello\n"), "the log is followed to its end"
    assert (await run.wait(RUN_SECONDS)).state is RunState.SUCCEEDED
    assert await read(witness, run.run_id, "talks", LogStream.STDERR) == b"to stderr\n"


async def test_a_log_is_there_after_its_agent_has_gone(cluster: Cluster, witness: Witness) -> None:
    async with cluster.another_agent(AgentPlan("a3")):
        run = await witness.client.run("waiting_on_a3", gate="open")
        assert (await run.wait(RUN_SECONDS)).state is RunState.SUCCEEDED
        printing = await witness.client.run("prints_on_a3", lines=20_000)
        assert (await printing.wait(RUN_SECONDS)).state is RunState.SUCCEEDED
    printed = await read(witness, printing.run_id, "prints")
    assert printed == b"".join(b"line %d\n" % number for number in range(20_000))


async def test_the_log_of_an_attempt_that_was_killed_with_its_agent_is_kept_as_far_as_it_came(
    cluster: Cluster, witness: Witness
) -> None:
    cluster.gates.shut("talking")
    async with cluster.another_agent(AgentPlan("a3")):
        run = await witness.client.run("talking_on_a3", word="hello")
        async with asyncio.timeout(RUN_SECONDS):
            async for entry in witness.client.tail_log(run.run_id, "talks"):
                if b"to stderr" in entry.data:
                    break
        await harm.kill_agent(cluster, "a3")
        assert b"before hello\n" in await read(witness, run.run_id, "talks")
        cluster.agents["a3"].start()
        cluster.gates.open("talking")
        assert (await run.wait(RUN_SECONDS)).state is RunState.SUCCEEDED
    first = [entry async for entry in witness.client.read_log(run.run_id, "talks", attempt=1)]
    assert b"before hello\n" in b"".join(entry.data for entry in first)


async def test_a_task_that_prints_a_gigabyte_costs_neither_memory_nor_disk(cluster: Cluster, witness: Witness) -> None:
    run = await witness.client.run("prints_a_gigabyte")
    assert (await run.wait(GIGABYTE_SECONDS)).state is RunState.SUCCEEDED
    [attempt] = await witness.client.list_attempts(run.run_id)
    entries = [entry async for entry in witness.client.tail_log(run.run_id, "prints")]  # waits until it is complete
    log = b"".join(entry.data for entry in entries)
    kept = b"".join(entry.data for entry in entries if entry.stream is LogStream.STDOUT)
    assert kept.startswith(b"the first line\n")
    assert kept.endswith(b"\nthe last line\n")
    assert (HEAD + TAIL) * 0.9 <= len(kept) <= HEAD + TAIL
    marker = b"".join(entry.data for entry in entries if entry.stream is LogStream.PODIUM)
    assert re.search(rb"\d", marker), "what was left out is told between head and tail"
    assert len(log) <= attempt.log_bytes <= HEAD + TAIL + 64 * 1024 + len(log) // 8
    for process in cluster.agents[attempt.agent].family():
        assert peak(process) < MOST_MEMORY, process.cmdline()
    assert disk(cluster.agent_folder(attempt.agent)) < MOST_DISK
    assert disk(cluster.data_dir / "logs") + disk(cluster.data_dir / "blobs") < MOST_DISK


def peak(process: psutil.Process) -> int:
    """Return the most memory a process has held, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def disk(folder: Path) -> int:
    """Return the bytes that the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
