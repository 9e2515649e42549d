"""The smallest variants on a real cluster: the shape of the result, never how fast it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.cli import measured
from benchmarks.cluster import NotDurableError, assert_durable
from benchmarks.fleet import running_fleet
from benchmarks.lab import SMALLEST, Lab
from benchmarks.runs import to_end
from benchmarks.shapes import fan_out
from benchmarks.workloads import w01_fan_out, w02_chain, w03_diamonds, w04_trigger

CHOSEN = (w01_fan_out.WORKLOAD, w02_chain.WORKLOAD, w03_diamonds.WORKLOAD, w04_trigger.WORKLOAD)
EVERYWHERE = {"unit", "median", "min", "max", "q1", "q3", "n"}


def a_lab(folder: Path) -> Lab:
    return Lab(SMALLEST, repeats=2, warm_ups=0, folder=folder)


def check_spread(row: dict[str, Any]) -> None:
    assert set(row) >= EVERYWHERE
    assert 0 <= row["min"] <= row["q1"] <= row["median"] <= row["q3"] <= row["max"]


@pytest.mark.timeout(240)
async def test_the_smallest_workloads_give_all_their_figures(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = a_lab(tmp_path_factory.mktemp("b"))
    told = json.loads(json.dumps(await measured(lab, CHOSEN)))

    assert told["machine"]["postgres"]
    workloads = told["workloads"]
    assert list(workloads) == ["W1", "W2", "W3", "W4"]
    assert set(workloads["W1"]["figures"]) == {"tasks, 20 wide"}
    assert set(workloads["W2"]["figures"]) == {"hop, median", "hop, p99", "run per hop"}
    assert {"tasks", "submit, batch call"} <= set(workloads["W3"]["figures"])
    assert set(workloads["W4"]["figures"]) == {"call to body, median", "call to body, p99"}
    for workload in workloads.values():
        for row in workload["figures"].values():
            check_spread(row)
            assert row["n"] == 2
            assert row["median"] > 0

    costs = workloads["W1"]["costs_per_task"]["20"]
    for part in ("coordinator", "agent session", "workers", "postgres", "span collector"):
        assert 0 < costs[f"{part} CPU"]["median"] < 1_000_000
    assert costs["WAL"]["median"] > 0
    assert not list(lab.folder.iterdir())


@pytest.mark.timeout(120)
async def test_simulated_agents_speak_the_session_protocol(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with a_lab(tmp_path_factory.mktemp("b")).site(agents=0) as site:
        await site.register(fan_out(10))
        async with running_fleet(site.address, 3, 1000) as fleet:
            await to_end(site, fan_out(10).name)
        assert fleet.seen["attempts"] >= 12
        assert (fleet.seen["stale"], fleet.seen["ended"]) == (0, 0)

        site.meter.link.execute("SET synchronous_commit = off")
        with pytest.raises(NotDurableError, match="synchronous_commit is off"):
            assert_durable(site.meter)
        site.meter.link.close()
        site.meter.link = psycopg.connect(site.meter.roots.conninfo, autocommit=True)
