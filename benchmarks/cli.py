"""The command line: which workloads, how often, and where the result goes."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
import traceback
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks import machine
from benchmarks.lab import FULL, QUICK, Lab, Workload
from benchmarks.results import Result, ratios, table
from benchmarks.workloads import ALL

NAMES = [workload.name for workload in ALL]


def chosen(context: click.Context, parameter: click.Parameter, value: str | None) -> list[Workload]:
    """Return the workloads that "W1,W4" names, in the order of the table; all of them for None."""
    del context, parameter
    wanted = {name.strip().upper() for name in value.split(",")} if value else set(NAMES)
    unknown = sorted(wanted - set(NAMES))
    if unknown:
        raise click.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return [workload for workload in ALL if workload.name in wanted]


@click.command(context_settings={"max_content_width": 110})
@click.option("--only", "workloads", callback=chosen, help="Measure these only, as in W1,W4.")
@click.option("--repeats", type=click.IntRange(1), help="Counted times of each; 5, or 3 with --quick.")
@click.option("--warm-ups", type=click.IntRange(0), default=1, show_default=True, help="Times before that.")
@click.option("--quick", is_flag=True, help="Everything smaller, without W8: shows in a minute or two what is broken.")
@click.option("--untraced", is_flag=True, help="Without tracing, to see what that costs: not what the bars mean.")
@click.option("--history", type=click.IntRange(0), help="Finished attempts that W8 puts into the database.")
@click.option("--compare", type=click.Path(path_type=Path, exists=True), help="Show ratios to an earlier result.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=Path("build/bench.json"), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where data goes; the temporary folder.")
def main(
    workloads: list[Workload],
    repeats: int | None,
    warm_ups: int,
    quick: bool,
    untraced: bool,
    history: int | None,
    compare: Path | None,
    target: Path,
    folder: Path | None,
) -> None:
    """Measure a real cluster on this machine: everything durable, traced and logged, with default settings.

    What each workload is and which bar it is held against stands in docs/performance.md.
    """
    scale = QUICK if quick else FULL
    scale = replace(scale, history=scale.history if history is None else history)
    lab = Lab(scale, repeats or (3 if quick else 5), warm_ups, folder or Path(tempfile.gettempdir()), not untraced)
    earlier = json.loads(compare.read_text()) if compare else None
    told = asyncio.run(_until_told_to_end(measured(lab, workloads, earlier)))
    told["conditions"] = {
        "quick": quick,
        "repeats": lab.repeats,
        "warm_ups": warm_ups,
        "traced": lab.traced,
    }
    if earlier:
        told["compared_with"] = {"file": str(compare), "ratios": ratios(told, earlier)}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written to {target}")
    if any("error" in each for each in told["workloads"].values()):
        raise SystemExit(1)


async def _until_told_to_end(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Do the work; SIGTERM ends it as Ctrl-C does, so that no cluster is left running."""
    working = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    try:
        return await working
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


async def measured(lab: Lab, workloads: Sequence[Workload], earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    """Measure the workloads, print each one's table, and return all of it."""
    lab.facts |= machine.facts(lab.folder)
    print(json.dumps(lab.facts, indent=2))
    found: dict[str, Any] = {}
    for workload in workloads:
        lab.say(f"{workload.name} ...")
        told = found[workload.name] = await _one(workload, lab)
        before = earlier["workloads"].get(workload.name, {}) if earlier is not None else None
        print("\n" + table(workload.name, told, before), flush=True)
    return {"machine": lab.facts, "workloads": found}


async def _one(workload: Workload, lab: Lab) -> dict[str, Any]:
    """Measure one workload. One that breaks does not take the others' figures with it: it says so, and has none."""
    began = time.monotonic()
    try:
        told = (await workload.measure(lab)).to_json(workload.title)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the exit status says so
        traceback.print_exc()
        told = Result(notes=[f"BROKE: {error!r}"]).to_json(workload.title) | {"error": repr(error)}
    return told | {"took_seconds": round(time.monotonic() - began, 1)}
