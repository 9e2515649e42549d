"""Times the coordinator alone: real Postgres, the real server and shard loop, and an agent that executes nothing.

    python -m benchmarks.coordinator_path [--sizes 100 1000 10000] [--chain 200]

The agent is another process (`fleet`); it answers each order at once. Prints, for fan-outs of several sizes: tasks per
second and what each task costs by part; and, for a chain, the milliseconds and the costs per hop. Nothing is traced.
The first run of each is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster import Site, running_site
from benchmarks.costs import per_task
from benchmarks.fleet import running_fleet
from benchmarks.results import Result, table
from benchmarks.runs import timed, to_end
from benchmarks.shapes import chain, fan_out
from benchmarks.spread import figure
from podium.model.spec import WorkflowSpec

CPU_MILLIS = 2_000
WARM_TASKS = 20_000
"""At least so many tasks are measured of each size."""
CHAINS = 5


async def measure(site: Site, spec: WorkflowSpec, name: int | str, times: int, result: Result) -> None:
    """Run a workflow once, and then the counted times in a row."""
    await site.register(spec)
    await to_end(site, spec.name)
    spent = await timed(site, spec.name, times)
    tasks = times * len(spec.tasks)
    result.figures[f"{name}"] = figure("tasks/s", tasks / spent.seconds)
    result.figures[f"{name}, per task"] = figure("ms", 1000 * spent.seconds / tasks)
    result.costs[name] = per_task([spent.spent], tasks)


async def measure_all(sizes: Sequence[int], length: int) -> Result:
    result = Result()
    folder = Path(tempfile.gettempdir())
    async with running_site(folder, agents=0, traced=False) as site, running_fleet(site.address, 1, CPU_MILLIS):
        for size in sizes:
            await measure(site, fan_out(size), size, max(1, WARM_TASKS // size), result)
        await measure(site, chain(length), f"chain of {length}", CHAINS, result)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--chain", type=int, default=200)
    given = parser.parse_args()
    result = asyncio.run(measure_all(given.sizes, given.chain))
    print(table("coordinator", result.to_json("the coordinator's path alone")))


if __name__ == "__main__":
    main()
