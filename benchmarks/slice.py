"""Measures a cluster of this machine: fan-out, chain, and the time from a call to a task's body.

    python -m benchmarks.slice [--repeats N] [--json FILE]

Real processes, default settings, everything durable: an embedded Postgres that flushes, a coordinator and one agent on
the cores there are. Prints the median and the spread of each: compare ratios on one machine, not figures of two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from examples.small_cluster import small_cluster
from podium import AsyncClient, RunState
from podium.bundle import pack
from podium.model.spec import Literal, PythonAction, TaskSpec, WorkflowSpec

PROJECT = Path(__file__).parent / "project"
WIDTH, LENGTH = 1000, 50
NOW = PythonAction("noop:now", (Literal(0),))

Measure = Callable[[AsyncClient], Awaitable[float]]


def fan_out() -> WorkflowSpec:
    middle = [TaskSpec(f"t{i}", NOW, ("first",)) for i in range(WIDTH)]
    last = TaskSpec("last", NOW, tuple(task.key for task in middle))
    return WorkflowSpec("fan_out", (TaskSpec("first", NOW), *middle, last))


def chain() -> WorkflowSpec:
    return WorkflowSpec("chain", tuple(TaskSpec(f"t{i}", NOW, (f"t{i - 1}",) if i else ()) for i in range(LENGTH)))


def single() -> WorkflowSpec:
    return WorkflowSpec("single", (TaskSpec("only", NOW),))


async def _run(client: AsyncClient, workflow: str) -> tuple[float, str]:
    begin = time.perf_counter()
    run = await client.run(workflow)
    ended = await run.wait(timeout=300)
    assert ended.state is RunState.SUCCEEDED
    return time.perf_counter() - begin, ended.run_id


async def fan_out_rate(client: AsyncClient) -> float:
    """Return tasks per second of the whole run, its submission included."""
    seconds, _ = await _run(client, "fan_out")
    return (WIDTH + 2) / seconds


async def chain_hop(client: AsyncClient) -> float:
    """Return milliseconds per hop."""
    seconds, _ = await _run(client, "chain")
    return 1000 * seconds / LENGTH


async def trigger_to_body(client: AsyncClient) -> float:
    """Return milliseconds from the client's call to the first line of the task."""
    called = time.time()
    run = await client.run("single")
    await run.wait(timeout=60)
    outputs = await run.outputs("only")
    return 1000 * (float(outputs["only"]) - called)


MEASURES: dict[str, tuple[Measure, int]] = {
    "fan-out tasks/s": (fan_out_rate, 1),
    "chain ms/hop": (chain_hop, 2),
    "trigger to body ms": (trigger_to_body, 10),
}


async def measure(address: str, repeats: int) -> dict[str, list[float]]:
    async with AsyncClient(address) as client:
        with pack(PROJECT) as packed:
            bundle = await client.put_blob(packed.path)
        for spec in (fan_out(), chain(), single()):
            await client.register(spec, bundle.sha256)
        results: dict[str, list[float]] = {}
        for name, (work, times) in MEASURES.items():
            await work(client)
            results[name] = [await work(client) for _ in range(repeats * times)]
    return results


def report(results: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    rows = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}
        for name, values in results.items()
    }
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'':<20} {'median':>10} {'min':>10} {'max':>10} {'n':>4}")
    for name, row in rows.items():
        print(f"{name:<20} {row['median']:>10.1f} {row['min']:>10.1f} {row['max']:>10.1f} {row['n']:>4.0f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each, after one that is not")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pod-") as folder, small_cluster(Path(folder), agents=1) as address:
        rows = report(asyncio.run(measure(address, arguments.repeats)))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
