"""Postgres, the one the coordinator starts, dies again and again, and freezes, while runs come and go."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator

import psutil
import pytest

from podium.model.states import RunState
from tests.cluster import harm
from tests.cluster.cluster import PATIENT, Cluster
from tests.cluster.fixtures import running_cluster
from tests.cluster.witness import Watched, Witness
from tests.fault.recording import Bound, Figures
from tests.fault.test_chaos import lines_in_ledger
from tests.fault.workload import EXPECTED, SEED, a_run_in_the_middle, assert_nothing_lost, finish

KILLED_OFTEN = Bound("from the last of 20 kills of Postgres under load to the end of the runs", 60.0)
FROZEN_SHORT = Bound("from the thaw of Postgres after 5 s to the end of the run", 30.0)
FROZEN_LONG = Bound("from the thaw of Postgres after 30 s to the end of the run", 60.0)
KILLS, AT_ONCE = 20, 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(settings=PATIENT) as running:
        yield running


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_postgres_is_killed_twenty_times_under_load(
    cluster: Cluster, witness: Witness, chance: random.Random, figures: Figures
) -> None:
    runs: list[Watched] = []
    for _ in range(KILLS):
        runs += [await witness.start("ledgered_fan", EXPECTED, seed=SEED) for _ in range(AT_ONCE)]
        await lines_in_ledger(cluster, chance.randint(1, 20))
        await harm.kill_postgres(cluster)
    figures.strike()
    for run in runs:
        assert (await run.ended(KILLED_OFTEN.most)).state is RunState.SUCCEEDED
    figures.recovered(KILLED_OFTEN)
    evidence = await witness.assert_clean()
    assert_nothing_lost(evidence)


@pytest.mark.parametrize(
    ("seconds", "bound"), [(5.0, FROZEN_SHORT), pytest.param(30.0, FROZEN_LONG, marks=pytest.mark.long)]
)
async def test_postgres_freezes_for_a_while(
    seconds: float, bound: Bound, cluster: Cluster, witness: Witness, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    processes = postgres_of(cluster)
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    cluster.gates.open("even")
    await asyncio.sleep(seconds)  # the fault itself
    for process in processes:
        process.send_signal(signal.SIGCONT)
    figures.strike()
    evidence = await finish(witness, run, bound, figures)
    assert_nothing_lost(evidence)


def postgres_of(cluster: Cluster) -> list[psutil.Process]:
    """Return all processes of the embedded Postgres."""
    return [process for process in cluster.coordinator.family() if process.name().startswith("postgres")]
