"""An agent is hit at its weakest moments: between two steps that belong together, or in one process of several."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from podium.model.states import AgentState, RunState, TaskRunState
from tests.cluster import harm
from tests.cluster.cluster import BRISK, Cluster
from tests.cluster.evidence import read_ledger
from tests.cluster.fixtures import running_cluster
from tests.cluster.processes import FileWatch, gone
from tests.cluster.witness import States, Witness
from tests.fault.recording import Bound, Figures
from tests.fault.stall import stalled
from tests.fault.workload import EVEN, EXPECTED, SEED, a_run_in_the_middle, assert_nothing_lost, finish

# Silence of 12 s loses an agent here: longer than it takes a session to start on a busy machine.
BEFORE_REPORT = Bound("from a session's death between an end and its report to the end of the run", 30.0)
BEFORE_START = Bound("from a session's death between taking and starting an attempt to the end of the run", 45.0)
LOOP_STUCK = Bound("from the stall of a session's loop, whose sockets answer pings, to the end of the run", 45.0)
TORN_JOURNAL = Bound("from the restart of an agent whose journal's tail is torn to the end of the run", 45.0)
BACK = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(settings={**BRISK, "PODIUM_COORDINATOR__LOST_AFTER": "12"}) as running:
        yield running


async def executed(cluster: Cluster, run_id: str, tasks: set[str]) -> None:
    """Return when the ledger has the ends of these tasks."""
    async with asyncio.timeout(BACK):
        with FileWatch(cluster.ledger) as watch:
            while not tasks <= {item.task for item in read_ledger(cluster.ledger) if item.run == run_id and item.ended}:
                await watch.changed()


async def end_with_frozen_sessions(cluster: Cluster, run_id: str) -> list[int]:
    """Let what executes end while no session listens; return the sessions' process ids."""
    sessions = [harm.session_of(cluster, name) for name in cluster.agents]
    for session in sessions:
        os.kill(session, signal.SIGSTOP)
    cluster.gates.open("even")
    await executed(cluster, run_id, set(EVEN))
    return sessions


async def test_sessions_die_between_an_end_and_its_report(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    for session in await end_with_frozen_sessions(cluster, run.run_id):
        os.kill(session, signal.SIGKILL)
        await gone(session)
    figures.strike()
    evidence = await finish(witness, run, BEFORE_REPORT, figures)
    assert_nothing_lost(evidence)


def given_out(states: States) -> bool:
    return states.get("source") is TaskRunState.ASSIGNED


async def test_sessions_die_between_taking_an_attempt_and_starting_it(
    cluster: Cluster, witness: Witness, figures: Figures
) -> None:
    workers = {name: workers_of(cluster, name) for name in cluster.agents}
    for process in [process for found in workers.values() for process in found]:
        process.send_signal(signal.SIGSTOP)
    run = await witness.start("ledgered_fan", EXPECTED, seed=SEED)
    await run.until(given_out, BACK)
    figures.strike()
    sessions = [harm.session_of(cluster, name) for name in cluster.agents]
    for session in sessions:
        os.kill(session, signal.SIGKILL)
    for process in [process for found in workers.values() for process in found]:
        process.send_signal(signal.SIGCONT)
    await finish(witness, run, BEFORE_START, figures)


def workers_of(cluster: Cluster, name: str) -> list[psutil.Process]:
    """Return the processes of an agent that start and execute: all but the session."""
    session = harm.session_of(cluster, name)
    return [process for process in cluster.agents[name].family() if process.pid != session]


async def test_a_stuck_loop_loses_its_agent_though_its_sockets_answer(
    cluster: Cluster, witness: Witness, figures: Figures
) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    with stalled(harm.session_of(cluster, "a1")):
        figures.strike()
        cluster.gates.open("even")
        assert (await run.ended(LOOP_STUCK.most)).state is RunState.SUCCEEDED
        figures.recovered(LOOP_STUCK)
        await agent_is(cluster, "a1", AgentState.LOST)
    await agent_is(cluster, "a1", AgentState.CONNECTED)
    evidence = await witness.assert_clean(overlaps=True)
    assert "lost" in {row.state for row in evidence.attempts}


async def agent_is(cluster: Cluster, name: str, state: AgentState) -> None:
    async with asyncio.timeout(BACK):
        await cluster.agents_are(lambda agents: agents[name].state is state)


async def test_the_tail_of_an_agents_journal_is_torn(cluster: Cluster, witness: Witness, figures: Figures) -> None:
    run = await a_run_in_the_middle(cluster, witness, figures)
    await end_with_frozen_sessions(cluster, run.run_id)
    for name, agent in cluster.agents.items():
        await harm.kill_agent(cluster, name)
        files = [path for path in (cluster.agent_folder(name) / "journal").rglob("*") if path.is_file()]
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        os.truncate(newest, max(0, newest.stat().st_size - 7))
        agent.start()
    figures.strike()
    await finish(witness, run, TORN_JOURNAL, figures)
    await cluster.connected(*cluster.agents)
