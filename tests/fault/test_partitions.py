"""The network between one agent and the coordinator breaks in every way there is; the other agent's does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from podium.model.states import AgentState, RunState
from tests.cluster.cluster import AgentPlan, Cluster
from tests.cluster.fixtures import running_cluster
from tests.cluster.witness import Watched, Witness
from tests.fault.network import Network, Way, network
from tests.fault.recording import Bound, Figures
from tests.fault.workload import EXPECTED, SEED, a_run_in_the_middle, assert_nothing_lost, finish

# Silence of 3 s disconnects an agent here, one of 5 s loses it.
NOT_HEARD = Bound("from the moment the agent cannot be heard until its tasks have succeeded elsewhere", 30.0)
NOT_HEARING = Bound("from the moment the agent cannot hear until its tasks have succeeded, there or elsewhere", 30.0)
CUT_OFF = Bound("from the moment the agent is cut off until its tasks have succeeded elsewhere", 30.0)
SHORT_CUT = Bound("from a cut shorter than lost_after to the end of the run", 30.0)
FLAPPING = Bound("from the first of 20 cuts and resets to the end of the runs", 90.0)
SLOW = Bound("end of a run over a network that takes 0.2 s each way", 45.0)
TORN = Bound("from the last of 10 connections torn in the middle of a message to the end of the runs", 60.0)
BACK = 30.0

FLAPS, TEARS = 20, 10


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[Cluster, Network]]:
    with running_cluster([AgentPlan("a2")]) as running, network(("127.0.0.1", running.port)) as between:
        plan = AgentPlan("a1", coordinators=between.address)
        running.start_agents([plan])
        asyncio.run(running.connected("a1"))
        yield running, between


@pytest.fixture
def cluster(parts: tuple[Cluster, Network]) -> Cluster:
    return parts[0]


@pytest.fixture
def between(parts: tuple[Cluster, Network]) -> Iterator[Network]:
    """The network of a1, whole at the beginning of each test."""
    yield parts[1]
    parts[1].heal()


async def a1_is(cluster: Cluster, state: AgentState) -> None:
    async with asyncio.timeout(BACK):
        await cluster.agents_are(lambda agents: agents["a1"].state is state)


async def lose_and_come_back(
    cluster: Cluster, witness: Witness, run: Watched, between: Network, bound: Bound, figures: Figures
) -> None:
    """See the run end without a1, and a1 come back, which is told then that nobody waits for it."""
    cluster.gates.open("even")
    assert (await run.ended(bound.most)).state is RunState.SUCCEEDED
    figures.recovered(bound)
    between.heal()
    await a1_is(cluster, AgentState.CONNECTED)
    await cluster.agents_are(lambda agents: not agents["a1"].live_attempts)
    await witness.assert_clean(overlaps=True)


async def test_an_agent_that_is_not_heard_is_lost(
    cluster: Cluster, witness: Witness, between: Network, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    between.up.held = True
    await lose_and_come_back(cluster, witness, run, between, NOT_HEARD, figures)


async def test_an_agent_that_cannot_hear_loses_its_standing(
    cluster: Cluster, witness: Witness, between: Network, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    between.down.held = True
    await lose_and_come_back(cluster, witness, run, between, NOT_HEARING, figures)


async def test_an_agent_that_is_cut_off_is_lost(
    cluster: Cluster, witness: Witness, between: Network, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    between.cut()
    await lose_and_come_back(cluster, witness, run, between, CUT_OFF, figures)


async def test_a_short_cut_costs_no_attempt(
    cluster: Cluster, witness: Witness, between: Network, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    between.cut()
    await a1_is(cluster, AgentState.DISCONNECTED)
    between.heal()
    cluster.gates.open("even")
    evidence = await finish(witness, run, SHORT_CUT, figures)
    assert_nothing_lost(evidence)
    await a1_is(cluster, AgentState.CONNECTED)


async def several(witness: Witness, count: int = 3) -> list[Watched]:
    return [await witness.start("ledgered_fan", EXPECTED, seed=SEED) for _ in range(count)]


async def test_a_network_that_flaps_loses_nothing(
    cluster: Cluster, witness: Witness, between: Network, chance: random.Random, figures: Figures
) -> None:
    figures.strike()
    runs = []
    for _ in range(FLAPS):
        runs += await several(witness, 1)
        chance.choice([between.cut, between.reset])()
        await asyncio.sleep(chance.uniform(0.01, 0.5))  # the fault itself: how long the network is away
        between.heal()
    for run in runs:
        assert (await run.ended(FLAPPING.most)).state is RunState.SUCCEEDED
    figures.recovered(FLAPPING)
    await witness.assert_clean()
    await a1_is(cluster, AgentState.CONNECTED)


async def test_a_slow_network_only_takes_time(
    cluster: Cluster, witness: Witness, between: Network, figures: Figures
) -> None:
    between.up.delay = between.down.delay = 0.2
    figures.strike()
    for run in await several(witness):
        assert (await run.ended(SLOW.most)).state is RunState.SUCCEEDED
    figures.recovered(SLOW)
    evidence = await witness.assert_clean()
    assert_nothing_lost(evidence)
    await a1_is(cluster, AgentState.CONNECTED)


async def test_connections_torn_in_the_middle_of_a_message_lose_nothing(
    cluster: Cluster, witness: Witness, between: Network, chance: random.Random, figures: Figures
) -> None:
    runs = []
    for _ in range(TEARS):
        way: Way = chance.choice([between.up, between.down])
        way.left = chance.randint(1, 400)
        runs += await several(witness, 1)
        await a1_is(cluster, AgentState.CONNECTED)
    figures.strike()
    between.heal()
    for run in runs:
        assert (await run.ended(TORN.most)).state is RunState.SUCCEEDED
    figures.recovered(TORN)
    await witness.assert_clean()
    await a1_is(cluster, AgentState.CONNECTED)
