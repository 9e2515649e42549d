"""Random runs, outcomes, reports, losses, cancels and owners: safety after every step, liveness once faults stop.

A failure names its seed; `python -m tests.unit.domain.simulation.driver SEED` plays that world again.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from tests.unit.domain.settings import EXAMPLES, FIRST_SEED
from tests.unit.domain.simulation.calm import calm_down
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.driver import play
from tests.unit.domain.simulation.happenings import LIKELIHOOD
from tests.unit.domain.simulation.world import World

lucks = st.integers(0, 2**32 - 1)


class Shard(RuleBasedStateMachine):
    """A world whose history Hypothesis chooses, and shortens when it finds something."""

    def __init__(self) -> None:
        super().__init__()
        self.used: Counter[int] = Counter()
        self.sound = False

    def chance(self, luck: int) -> Chance:
        """Return draws that no other step has, so that steps of the same luck do not make the same ids."""
        self.used[luck] += 1
        return Chance(luck << 16 | self.used[luck])

    @initialize(luck=lucks)
    def begin(self, luck: int) -> None:
        self.world = World(self.chance(luck))
        self.sound = True

    @rule(luck=lucks)
    def something_happens(self, luck: int) -> None:
        chance = self.chance(luck)
        happening = chance.weighted(LIKELIHOOD)
        note(happening.__name__)
        self.sound = False
        happening(self.world, chance)
        self.world.judge()
        self.sound = True

    def teardown(self) -> None:
        if self.sound:
            calm_down(self.world, Chance(0))


TestShard = Shard.TestCase
TestShard.settings = settings(
    max_examples=max(1, EXAMPLES // 3),
    stateful_step_count=120,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + EXAMPLES))
def test_safety_holds_at_every_step_and_every_run_ends(seed: int) -> None:
    play(seed)


def test_a_seed_repeats_its_world() -> None:
    first, second = play(FIRST_SEED, steps=120), play(FIRST_SEED, steps=120)
    assert (first.instant, first.database.runs, first.database.attempts, first.database.ended) == (
        second.instant,
        second.database.runs,
        second.database.attempts,
        second.database.ended,
    )


def test_the_worlds_see_every_end_there_is() -> None:
    worlds = [play(seed) for seed in range(20)]
    runs = {run.state for world in worlds for run in world.database.runs.values()}
    attempts = {row.state for world in worlds for row in world.database.attempts.values()}
    without_attempt = {row.state for world in worlds for row in world.database.ended.values()}
    assert runs == {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    assert attempts == set(AttemptState) - {AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.UNKNOWN}
    assert without_attempt == {TaskRunState.FAILED, TaskRunState.SKIPPED, TaskRunState.UPSTREAM_FAILED}
    assert max(world.database.epoch for world in worlds) > 3
