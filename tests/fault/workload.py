"""The workload of the fault tests: what it must give, and how to get into the middle of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from podium.model.states import RunState, TaskRunState
from tests.cluster.cluster import Cluster
from tests.cluster.evidence import Evidence
from tests.cluster.witness import States, Watched, Witness
from tests.fault.recording import Bound, Figures

UNHARMED = {"succeeded", "taken_back"}
"""How attempts end that no fault has reached; an order that was committed and not delivered is taken back."""

SEED = 7
BRANCHES = 8
EXPECTED: Mapping[str, object] = {
    "source": SEED,
    **{f"first_{i}": [SEED, i] for i in range(BRANCHES)},
    "total": sum(100 * SEED + i for i in range(BRANCHES)),
}
EVEN = [f"first_{i}" for i in range(0, BRANCHES, 2)]
ODD = [f"first_{i}" for i in range(1, BRANCHES, 2)]
BEHIND_EVEN = ["second" if i == 0 else f"second_{i + 1}" for i in range(0, BRANCHES, 2)]
"""The second hops of the even branches."""
IN_THE_MIDDLE = 60.0


def in_the_middle(states: States) -> bool:
    """Some branches have passed their first hop, the others are executing it."""
    done = all(states.get(key) is TaskRunState.SUCCEEDED for key in ODD)
    return done and all(states.get(key) is TaskRunState.RUNNING for key in EVEN)


async def a_run_in_the_middle(cluster: Cluster, witness: Witness, figures: Figures) -> Watched:
    """Return a run that stays in the middle until the gate "even" is opened; the fault is expected right then."""
    cluster.gates.shut("even")
    run = await witness.start("ledgered_fan", EXPECTED, seed=SEED)
    await run.until(in_the_middle, IN_THE_MIDDLE)
    figures.strike()
    return run


async def finish(witness: Witness, run: Watched, bound: Bound, figures: Figures) -> Evidence:
    """Wait for the run's success, hold the time since the fault against its bound, and have the oracle judge."""
    ended = await run.ended(bound.most)
    assert ended.state is RunState.SUCCEEDED, ended
    figures.recovered(bound)
    return await witness.assert_clean()


def assert_nothing_lost(evidence: Evidence) -> None:
    """See that no attempt failed or was lost; one that no agent had heard of yet may have been taken back."""
    assert {row.state for row in evidence.attempts} <= UNHARMED


def assert_undisturbed(evidence: Evidence) -> None:
    """See that nothing was lost of a run that was in the middle, and that what executed then was never tried again."""
    assert_nothing_lost(evidence)
    tried = Counter(row.task for row in evidence.attempts)
    assert {task: tried[task] for task in EVEN} == dict.fromkeys(EVEN, 1)
