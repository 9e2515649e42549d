"""kill -9 in the middle of the real example: the figures are those of the raw text, and the ledger is clean.

The example is deployed as it is, but for its tasks keeping the ledger. One cluster for all; each test leaves it whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest

from flights import sources
from podium.model.states import RunState, TaskRunState
from tests.cluster import harm
from tests.cluster.cluster import ROOT, AgentPlan, Cluster
from tests.cluster.fixtures import running_cluster
from tests.cluster.ledgering import ledgered_copy
from tests.cluster.witness import States, Witness
from tests.example.by_hand import Figures, figures
from tests.fault.workload import UNHARMED

# Bounds in seconds.
IN_THE_MIDDLE = 90.0
FROM_THE_FAULT_TO_THE_END = 90.0

HELD = ("delays_04", "delays_09")
PLACES = 3
LEAST_DEPARTED = 1000

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    project = ledgered_copy(ROOT / "examples" / "nyc_flights", tmp_path_factory.mktemp("example"))
    with running_cluster([AgentPlan("a1", cpu=2), AgentPlan("a2", cpu=2)], projects=[project]) as running:
        yield running


@pytest.fixture(scope="module")
def by_hand() -> Figures:
    return figures(sources.data_folder())


def in_the_middle(states: States) -> bool:
    """Some months are done, two are being worked on, and nothing that needs them all has begun."""
    months = [state for key, state in states.items() if key.startswith("delays_")]
    return months.count(TaskRunState.SUCCEEDED) >= 4 and all(states.get(key) is TaskRunState.RUNNING for key in HELD)


async def kill_coordinator(cluster: Cluster, _: str) -> None:
    await harm.kill_coordinator(cluster)
    await cluster.restart_coordinator()


async def kill_session(cluster: Cluster, agent: str) -> None:
    await harm.kill_session(cluster, agent)


async def kill_agent(cluster: Cluster, agent: str) -> None:
    await harm.kill_agent(cluster, agent)
    cluster.agents[agent].start()


async def kill_postgres(cluster: Cluster, _: str) -> None:
    await harm.kill_postgres(cluster)


Fault = Callable[[Cluster, str], Awaitable[None]]

KILLS: dict[str, tuple[Fault, set[str]]] = {
    "the coordinator": (kill_coordinator, UNHARMED),
    "an agent's session process": (kill_session, UNHARMED),
    "a whole agent": (kill_agent, UNHARMED | {"lost"}),
    "Postgres": (kill_postgres, UNHARMED),
}


@pytest.mark.parametrize("victim", KILLS)
async def test_the_figures_are_the_same_when_there_is_killed(
    victim: str, cluster: Cluster, witness: Witness, by_hand: Figures
) -> None:
    kill, states = KILLS[victim]
    for gate in HELD:
        cluster.gates.shut(gate)
    run = await witness.start("nyc_flights", {}, least_departed=LEAST_DEPARTED)
    await run.until(in_the_middle, IN_THE_MIDDLE)
    [held] = await witness.client.list_attempts(run.run_id, task=HELD[0])
    await kill(cluster, held.agent)
    cluster.gates.open_all()
    assert (await run.ended(FROM_THE_FAULT_TO_THE_END)).state is RunState.SUCCEEDED
    evidence = await witness.assert_clean()
    assert {row.state for row in evidence.attempts} <= states
    await assert_right(witness, run.run_id, by_hand)
    await cluster.connected(*cluster.agents)


async def assert_right(witness: Witness, run_id: str, by_hand: Figures) -> None:
    report = (await witness.client.get_outputs(run_id))["write_report"]
    assert report["totals"] == vars(by_hand.total)
    worst = [(row["carrier"], row["origin"], row["departed"], row["mean_delay"]) for row in report["worst"]]
    assert worst == by_hand.worst(PLACES, least_departed=LEAST_DEPARTED)
    table = (await report["table"].read_bytes()).decode().splitlines()
    assert len(table) == 1 + len(by_hand.by_pair_and_hour)
    assert (await report["chart"].read_bytes()).startswith(b"\x89PNG")
