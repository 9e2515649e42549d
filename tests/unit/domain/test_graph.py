from __future__ import annotations

from podium.model.spec import (
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    Resources,
    RetryPolicy,
    ShellAction,
    TaskSpec,
    TriggerRule,
)
from podium_coordinator.domain.graph import SchedulingClass, Terms, compile_graph, outputs_used
from tests.unit.domain.builders import a_spec, a_task

DIAMOND = (
    a_task("extract"),
    a_task("clean", "extract"),
    a_task("check", "extract", required=True, rule=TriggerRule.ALL_DONE),
    a_task("merge", "clean", "check"),
)


def test_edges_lead_from_each_task_to_those_that_wait_for_it() -> None:
    graph = compile_graph(a_spec(*DIAMOND))
    assert [list(graph.children_of(task)) for task in range(graph.size)] == [[1, 2], [3], [3], []]
    assert list(graph.parents) == [0, 1, 1, 2]


def test_tasks_may_be_written_before_those_they_wait_for() -> None:
    graph = compile_graph(a_spec(*reversed(DIAMOND)))
    assert [list(graph.children_of(task)) for task in range(graph.size)] == [[], [0], [0], [1, 2]]


def test_a_run_is_decided_by_its_leaves_and_by_what_is_required() -> None:
    assert compile_graph(a_spec(*DIAMOND)).decisive == bytes([0, 0, 1, 1])


def test_every_trigger_rule_survives_compilation() -> None:
    graph = compile_graph(a_spec(*(a_task(rule.value, rule=rule) for rule in TriggerRule)))
    assert [graph.rule(task) for task in range(graph.size)] == list(TriggerRule)


def test_tasks_that_agree_in_what_placement_looks_at_share_a_class() -> None:
    big = Resources(cpu_millis=2000, memory_bytes=5)
    graph = compile_graph(
        a_spec(
            a_task("a", resources=big, labels=(("zone", "b"), ("gpu", "yes")), priority=3),
            a_task("b"),
            a_task("c", resources=big, labels=(("gpu", "yes"), ("zone", "b")), priority=3),
        )
    )
    assert graph.classes == (
        SchedulingClass(3, 2000, 5, (("gpu", "yes"), ("zone", "b"))),
        SchedulingClass(0, 1000, 0),
    )
    assert [graph.scheduling_class(task).priority for task in range(graph.size)] == [3, 0, 3]


def test_tasks_that_agree_in_times_and_tries_share_their_terms() -> None:
    twice = RetryPolicy(retries=2)
    graph = compile_graph(
        a_spec(
            a_task("a", retry=twice, start_timeout=5, run_timeout=6),
            a_task("b"),
            a_task("c", retry=twice, start_timeout=5, run_timeout=6),
            run_timeout=60,
        )
    )
    assert graph.terms == (Terms(twice, 6, 5), Terms(RetryPolicy(), None, None))
    assert [graph.terms_for(task).start_timeout for task in range(graph.size)] == [5, None, 5]
    assert graph.run_timeout == 60


def test_a_tasks_inputs_are_the_upstreams_whose_outputs_its_action_refers_to() -> None:
    nested = ObjectBinding((("months", ListBinding((Output("clean", ("0",)), Literal(2), Parameter("year")))),))
    graph = compile_graph(
        a_spec(
            a_task("extract"),
            a_task("clean", "extract", args=(Output("extract"),)),
            a_task("merge", "extract", "clean", args=(nested, Output("clean"))),
            a_task("tell", "extract"),
        )
    )
    assert graph.inputs == {1: (0,), 2: (1,)}
    assert list(graph.consumers) == [1, 1, 0, 0]


def test_a_shell_task_uses_outputs_through_its_environment() -> None:
    task = TaskSpec("say", ShellAction(script="echo $X", env_bindings=(("X", Output("extract")),)), ("extract",))
    graph = compile_graph(a_spec(a_task("extract"), task))
    assert outputs_used(task) == {"extract"}
    assert [graph.actions[action] for action in graph.action_of] == ["flights:extract", "shell"]
