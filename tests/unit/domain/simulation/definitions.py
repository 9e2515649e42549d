"""Random workflows: small, and of every kind of task there is."""

from __future__ import annotations

from podium.model.spec import Resources, RetryPolicy, TaskSpec, TriggerRule, WorkflowSpec
from tests.unit.domain.builders import a_task
from tests.unit.domain.simulation.chance import Chance

ZONE = (("zone", "a"),)
NOWHERE = (("zone", "none"),)
RULES = (*TriggerRule, *[TriggerRule.ALL_SUCCESS] * 4, *[TriggerRule.ALL_DONE] * 3)


def a_random_workflow(chance: Chance) -> WorkflowSpec:
    """Return a DAG whose tasks, unless they have a start timeout, fit at least one agent of the world."""
    size = 1 + chance.below(7)
    keys = [f"t{i}" for i in range(size)]
    tasks = [_task(key, chance.some(keys[:i], 4), chance) for i, key in enumerate(keys)]
    return WorkflowSpec("random", tuple(chance.shuffled(tasks)), run_timeout=chance.pick([None, None, None, 40.0]))


def _task(key: str, upstream: list[str], chance: Chance) -> TaskSpec:
    start_timeout = chance.pick([None, None, None, 4.0, 30.0])
    impossible = start_timeout is not None and chance.happens(0.3)
    return a_task(
        key,
        *upstream,
        rule=chance.pick(RULES),
        retry=RetryPolicy(chance.pick([0, 0, 1, 2]), chance.pick([0.0, 1.0, 7.0]), chance.pick([1.0, 2.0]), 10.0),
        start_timeout=start_timeout,
        required=chance.happens(0.2),
        priority=chance.pick([0, 0, 0, 5]),
        resources=Resources(chance.pick([0, 500, 1000, 2000]), chance.pick([0, 0, 1, 4])),
        labels=NOWHERE if impossible else chance.pick([(), (), (), ZONE]),
    )
