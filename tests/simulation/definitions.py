"""Random workflows: small, and of every kind of task there is; and how long their tasks take."""

from __future__ import annotations

from podium.model.spec import Output, Resources, RetryPolicy, TaskSpec, TriggerRule, WorkflowSpec
from tests.simulation.chance import Chance
from tests.unit.domain.builders import a_task

ZONE = (("zone", "a"),)
NOWHERE = (("zone", "none"),)
RULES = (*TriggerRule, *[TriggerRule.ALL_SUCCESS] * 4, *[TriggerRule.ALL_DONE] * 3)
USUAL = (0.002, 0.01, 0.03, 0.03, 0.4, 2.0, 9.0)
"""Seconds that tasks take; those far below 50 ms are sent ahead."""


def a_random_workflow(name: str, chance: Chance) -> WorkflowSpec:
    """Return a DAG whose tasks, unless they have a start timeout, fit some agent of the world."""
    if chance.happens(0.15):
        return _a_fan(name, chance)
    size = 1 + chance.below(7)
    keys = [f"t{i}" for i in range(size)]
    tasks = [_task(key, chance.some(keys[:i], 4), chance) for i, key in enumerate(keys)]
    return WorkflowSpec(name, tuple(chance.shuffled(tasks)), run_timeout=chance.pick([None, None, None, 40.0]))


def _a_fan(name: str, chance: Chance) -> WorkflowSpec:
    """Return many short tasks alike, of which agents are sent more than fits."""
    tasks = [a_task(f"s{i}", retry=RetryPolicy(1, 0.0)) for i in range(6 + chance.below(10))]
    return WorkflowSpec(name, tuple(tasks))


def _task(key: str, upstream: list[str], chance: Chance) -> TaskSpec:
    start_timeout = chance.pick([None, None, None, 4.0, 30.0])
    impossible = start_timeout is not None and chance.happens(0.3)
    return a_task(
        key,
        *upstream,
        rule=chance.pick(RULES),
        retry=RetryPolicy(chance.pick([0, 0, 1, 2]), chance.pick([0.0, 1.0, 7.0]), chance.pick([1.0, 2.0]), 10.0),
        start_timeout=start_timeout,
        run_timeout=chance.pick([None, None, None, 3.0]),
        required=chance.happens(0.2),
        priority=chance.pick([0, 0, 0, 5]),
        resources=Resources(chance.pick([0, 500, 1000, 2000]), chance.pick([0, 0, 1, 4])),
        labels=NOWHERE if impossible else chance.pick([(), (), (), ZONE]),
        args=tuple(Output(parent) for parent in chance.some(upstream, 2)),
    )
