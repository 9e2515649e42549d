from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypedDict

import pytest

from podium import Workflow, shell, task, workflow
from podium.annotations import parameter_type
from podium.building import TaskNode
from podium.errors import DefinitionError, InvalidWorkflowError
from podium.model.spec import (
    ListBinding,
    ObjectBinding,
    Output,
    Parameter,
    ParameterSpec,
    ParameterType,
    PythonAction,
    Resources,
    RetryPolicy,
    ShellAction,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)
from podium.model.spec import Literal as Value
from tests.unit.sdk.pipelines import daily, extract, notify, total

HERE = re.escape(__file__)
MODULE = "tests.unit.sdk.pipelines"


def built(define: Callable[..., object], **options: Any) -> WorkflowSpec:
    return workflow(**options)(define).build().spec


def upstreams(define: Callable[..., object]) -> dict[str, tuple[str, ...]]:
    return {task.key: task.upstream for task in built(define).tasks}


def refused(define: Callable[..., object]) -> str:
    """Return what is said of a definition, without the place, which must be in this file."""
    with pytest.raises(DefinitionError) as caught:
        built(define)
    match = re.fullmatch(rf"{HERE}:\d+: (.*)", str(caught.value), re.DOTALL)
    assert match, str(caught.value)
    return match[1]


def test_a_workflow_becomes_the_definition_it_reads_like() -> None:
    assert daily.spec() == WorkflowSpec(
        "daily",
        (
            TaskSpec("extract", PythonAction(f"{MODULE}:extract", (Parameter("year"),))),
            TaskSpec(
                "total",
                PythonAction(f"{MODULE}:total", (Output("extract", ("rows",)),), (("scale", Value(2)),)),
                ("extract",),
                retry=RetryPolicy(2, 5.0),
                resources=Resources(500, 512 * 2**20),
                agent_labels=(("zone", "b"),),
            ),
            TaskSpec(
                "read",
                ShellAction(
                    script='cat "$FILE"',
                    env=(("MODE", "fast"),),
                    env_bindings=(("FILE", Output("extract", ("file",))), ("NOTE", Parameter("note"))),
                ),
                ("extract",),
            ),
            TaskSpec("notify", PythonAction(f"{MODULE}:notify"), ("total", "read")),
        ),
        (
            ParameterSpec("year", ParameterType.INTEGER, Value(2013)),
            ParameterSpec("note", ParameterType.STRING, Value("none")),
        ),
        "Sums up a year.",
        3600.0,
    )


def test_outside_of_a_workflow_a_task_is_its_function() -> None:
    assert total([1, 2], scale=2) == 6
    assert total.__wrapped__([1, 2]) == 3
    assert total.__name__ == "total"


def test_calling_one_task_from_another_just_runs_it() -> None:
    @task
    def outer() -> float:
        return float(total([1]))

    @workflow
    def flow() -> None:
        outer()

    assert [node.key for node in flow.build().spec.tasks] == ["outer"]
    assert flow.test().outputs == {"outer": 1}


def test_repeated_calls_are_numbered() -> None:
    def flow() -> None:
        for _ in range(3):
            notify()
        notify.options(key="last")()
        shell("true")
        shell("true")

    assert [node.key for node in built(flow).tasks] == ["notify", "notify_2", "notify_3", "last", "shell", "shell_2"]


def test_a_number_that_is_taken_is_left_out() -> None:
    def flow() -> None:
        notify.options(key="notify_2")()
        notify()
        notify()

    assert [node.key for node in built(flow).tasks] == ["notify_2", "notify", "notify_3"]


def test_a_key_that_a_call_asks_for_must_be_free() -> None:
    def flow() -> None:
        notify.options(key="x")()
        notify.options(key="x")()

    assert re.fullmatch(rf"The key 'x' is taken by the task at {HERE}:\d+; choose another\.", refused(flow))


def test_a_key_on_the_decorator_is_numbered_like_a_name() -> None:
    @task(key="load")
    def first() -> None: ...

    def flow() -> None:
        first()
        first()

    assert [node.key for node in built(flow).tasks] == ["load", "load_2"]


def test_data_makes_order_wherever_the_output_stands() -> None:
    def flow() -> None:
        a, b, c = (notify.options(key=key)() for key in "abc")
        extract.options(key="d")({"x": [1, a, {"y": b["z"][0]}], "w": (c,)})  # type: ignore[arg-type]

    [*_, last] = built(flow).tasks
    assert last.upstream == ("c", "a", "b")
    assert last.action.args == (  # type: ignore[union-attr]
        ObjectBinding(
            (
                ("w", ListBinding((Output("c"),))),
                ("x", ListBinding((Value(1), Output("a"), ObjectBinding((("y", Output("b", ("z", "0"))),))))),
            )
        ),
    )


def test_order_without_data() -> None:
    def flow() -> None:
        a, b, c, d, e, f = (notify.options(key=key)() for key in "abcdef")
        a >> [b, c] >> d
        e.after(d, [a])
        f << e
        [f, e] << a

    assert upstreams(flow) == {
        "a": (),
        "b": ("a",),
        "c": ("a",),
        "d": ("b", "c"),
        "e": ("d", "a"),
        "f": ("e", "a"),
    }


def test_the_same_order_twice_is_one_edge() -> None:
    def flow() -> None:
        a = notify.options(key="a")()
        b = extract.options(key="b")([a, a])  # type: ignore[arg-type]
        a >> b
        b.after(a)

    assert upstreams(flow) == {"a": (), "b": ("a",)}


@pytest.mark.parametrize(
    ("use", "how"),
    [
        (bool, "tested"),
        (iter, "iterated over"),
        (len, "measured"),
        (lambda node: node == 1, "compared"),
        (lambda node: node < 1, "compared"),
        (lambda node: 1 in node, "searched"),
        (lambda node: f"{node}", "put into text"),
        (int, "made a number"),
        (float, "made a number"),
        (range, "made a number"),
    ],
)
@pytest.mark.parametrize("what", ["a task", "a parameter"])
def test_a_value_that_is_not_there_yet_cannot_be_used(use: Callable[[Any], object], how: str, what: str) -> None:
    def flow(day: str = "") -> None:
        use(notify() if what == "a task" else day)

    shown = "<task notify>" if what == "a task" else "<parameter day>"
    assert refused(flow) == (
        f"{shown} has no value while the workflow is built, so it cannot be {how}. Pass it to a task instead."
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (date(2013, 1, 1), "argument 1: a datetime.date is no JSON value; pass value.isoformat()."),
        (
            [Path("/x")],
            (
                "argument 1[0]: a pathlib.PosixPath is no JSON value; paths differ between hosts: "
                "pass str(path) if it is the same on all, or let a task return it."
            ),
        ),
        ({"a": {1}}, "argument 1['a']: a set is no JSON value; pass sorted(value)."),
        (float("nan"), "argument 1: nan is no JSON number; use null or a string."),
        (notify, "argument 1: argument 1 is the task itself; call it, so that its output is passed on."),
    ],
)
def test_an_argument_that_cannot_travel_is_refused_where_it_is_passed(argument: object, message: str) -> None:
    def flow() -> None:
        extract(argument)  # type: ignore[arg-type]

    assert refused(flow) == message.replace("argument 1: argument 1 is", "argument 1 is")


def test_a_call_that_does_not_fit_the_function_is_refused() -> None:
    def flow() -> None:
        total(scal=1)  # type: ignore[call-arg]

    assert refused(flow) == "total(): missing a required argument: 'rows'."


def test_a_value_of_another_workflow_is_refused() -> None:
    leaked: list[TaskNode] = []

    def first() -> None:
        leaked.append(notify())

    def second() -> None:
        extract(leaked[0])  # type: ignore[arg-type]

    def third() -> None:
        notify() >> leaked[0]

    built(first)
    assert refused(second) == "<task notify> belongs to another workflow; a value cannot go from one run to another."
    assert refused(third) == "Workflow first is built already; order its tasks inside its function."


def test_order_takes_only_tasks() -> None:
    def flow(day: str) -> None:
        notify() >> [day]

    assert refused(flow) == "<parameter day> is no task of a workflow; order takes what calls of tasks return."


@pytest.mark.parametrize("step", [-1, True, 1.5, None])
def test_only_keys_and_indexes_lead_into_an_output(step: Any) -> None:
    def flow() -> None:
        extract(1)[step]

    assert refused(flow) == f"<task extract> has no part {step!r}: use an object's key, or an index from 0."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrys": 3}, "There is no option 'retrys'. Did you mean 'retries'?"),
        ({"retries": "3"}, "retries must be a whole number, and is '3'."),
        ({"retries": True}, "retries must be a whole number, and is True."),
        ({"required": 1}, "required must be True or False, and is 1."),
        ({"key": 1}, "key must be text, and is 1."),
        ({"factor": "2"}, "factor must be a number, and is '2'."),
        (
            {"delay": "5 minutes"},
            'delay: \'5 minutes\' is no length of time: write seconds, a timedelta, or text such as "30s" or "1h30m".',
        ),
        ({"timeout": -1}, "timeout: -1 is no length of time from 0 to 315,576,000,000 seconds."),
        (
            {"memory": "512M"},
            'memory: \'512M\' is no amount of memory: write bytes, or text such as "512MiB" or "2GiB".',
        ),
        ({"trigger_rule": "all_sucess"}, "There is no trigger rule 'all_sucess'. Did you mean 'all_success'?"),
        ({"labels": {"a": 1}}, "labels must be a mapping from text to text, and is {'a': 1}."),
    ],
)
def test_a_wrong_option_is_refused_at_the_decorator(options: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:

        @task(**options)
        def work() -> None: ...

    assert re.fullmatch(rf"{HERE}:\d+: Task 'work': {re.escape(message)}", str(caught.value))


def test_options_take_lengths_and_amounts_as_people_write_them() -> None:
    @task(delay="1h30m", max_delay=timedelta(days=1), timeout=0.25, start_timeout="250ms", memory="1.5GB", cpu=2)
    def work() -> None: ...

    def flow() -> None:
        work.options(trigger_rule="all_done", priority=5, required=True)()

    [node] = built(flow).tasks
    assert node.retry == RetryPolicy(0, 5400.0, 2.0, 86400.0)
    assert (node.run_timeout, node.start_timeout) == (0.25, 0.25)
    assert node.resources == Resources(2000, 1_500_000_000)
    assert (node.trigger_rule, node.priority, node.required) == (TriggerRule.ALL_DONE, 5, True)


def test_functions_that_cannot_be_tasks_are_refused() -> None:
    async def work() -> None: ...

    def generate() -> Any:
        yield 1

    messages = {
        work: "An async function cannot be a task; write a def, and call asyncio.run(...) in it.",
        generate: "A generator cannot be a task: what it yields is lost. Return a list.",
        lambda: 1: "A lambda has no name that agents could import; write a def for the task.",
        print: "@task goes on a function, and <built-in function print> is none.",
    }
    for function, message in messages.items():
        with pytest.raises(DefinitionError, match=re.escape(message)):
            task(function)  # type: ignore[call-overload]


def test_shell_outside_of_a_workflow_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"shell\(\.\.\.\) makes a node of a workflow; call it inside a function"):
        shell("true")


def test_a_command_with_an_output_in_it_is_refused_with_the_way_out() -> None:
    def flow() -> None:
        shell(["cat", notify()])

    assert refused(flow) == (
        "The command of shell(...) is text, or a list of text; it is ['cat', <task notify>]. "
        "Pass outputs and parameters by env."
    )


def test_a_program_and_its_arguments_need_no_shell() -> None:
    def flow() -> None:
        shell(["echo", "a b"], cwd="scripts")

    assert built(flow).tasks[0].action == ShellAction(exec=("echo", "a b"), cwd="scripts")


def test_a_workflow_is_not_called() -> None:
    with pytest.raises(DefinitionError, match=r"Workflow daily is not called. Run it here with \.test"):
        daily()

    def flow() -> None:
        daily()

    assert refused(flow).startswith("Workflow daily is not called.")


def test_a_task_that_agents_could_not_import_is_refused_with_the_way_out() -> None:
    @task
    def local() -> None: ...

    @workflow
    def flow() -> None:
        local()

    with pytest.raises(DefinitionError, match="is defined inside a function; move it to the top of its module"):
        flow.spec()
    assert flow.test().result() == {"local": None}


def test_a_task_of_the_running_program_is_refused_with_the_way_out() -> None:
    def script() -> None: ...

    script.__module__, script.__qualname__ = "__main__", "script"
    script_task = task(script)

    @workflow
    def flow() -> None:
        script_task()

    with pytest.raises(DefinitionError, match=r"which agents cannot import\. Deploy the file \(podium deploy FILE\)"):
        flow.spec()


def test_an_unsound_definition_says_where_each_task_stands() -> None:
    @workflow(name="not good")
    def flow() -> None:
        notify.options(priority=2000)()

    with pytest.raises(InvalidWorkflowError) as caught:
        flow.build()
    first, name, priority = str(caught.value).splitlines()
    assert re.fullmatch(rf"{HERE}:\d+: Workflow 'not good' is not sound: 2 problems\.", first)
    assert name.startswith("  name: 'not good' is no usable name")
    assert re.fullmatch(rf"  tasks\[0\]\.priority: 2,000 is out of range: -1,000 to 1,000\. \({HERE}:\d+\)", priority)


def test_a_cycle_made_by_order_is_named() -> None:
    @workflow
    def flow() -> None:
        a, b = notify.options(key="a")(), notify.options(key="b")()
        a >> b >> a

    with pytest.raises(InvalidWorkflowError, match="These tasks wait for each other: a -> b -> a"):
        flow.build()


def test_the_function_runs_once() -> None:
    calls: list[int] = []

    @workflow
    def flow() -> None:
        calls.append(1)
        notify()

    assert flow.build() is flow.build()
    assert calls == [1]


def test_what_the_function_raises_is_the_users_own() -> None:
    @workflow
    def flow() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        flow.build()
    notify()


class Window(TypedDict):
    begin: str


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "string"),
        (int, "integer"),
        (float, "number"),
        (bool, "boolean"),
        (list[int], "array"),
        (tuple[int, ...], "array"),
        (dict[str, int], "object"),
        (Mapping[str, int], "object"),
        (Window, "object"),
        (Any, "any"),
        (str | None, "any"),
        (Optional[int], "any"),  # noqa: UP045 - the older way to write it
        (int | str, "any"),
        (Literal["a", "b"], "string"),
        (Literal["a", 1], "any"),
        (Annotated[int, "how many"], "integer"),
    ],
)
def test_an_annotation_says_the_type(annotation: object, kind: str) -> None:
    assert parameter_type(annotation) == kind


def test_a_parameter_is_described_by_its_annotation() -> None:
    def flow(day: Annotated[str, "The day to load."], n: int = 3) -> None:
        extract([day, n])  # type: ignore[arg-type]

    assert built(flow).parameters == (
        ParameterSpec("day", ParameterType.STRING, description="The day to load."),
        ParameterSpec("n", ParameterType.INTEGER, Value(3)),
    )


def test_a_parameter_that_is_no_json_is_refused() -> None:
    def dated(day: date) -> None:
        notify()

    def defaulted(x: Any = frozenset({1})) -> None:
        notify()

    def variadic(*days: str) -> None:
        notify()

    def misspelt(day: Day) -> None:  # type: ignore[name-defined]  # noqa: F821
        notify()

    assert refused(dated) == (
        "The parameter day: date is no JSON type; annotate it with str, int, float, bool, list or dict, "
        "and convert it in a task."
    )
    assert refused(defaulted) == "The default of the parameter x: a frozenset is no JSON value; pass sorted(value)."
    assert refused(variadic) == "The parameter *days: 'str' cannot be given by name; declare each parameter of a run."
    assert refused(misspelt) == "An annotation cannot be read: name 'Day' is not defined."


def test_a_hundred_thousand_calls_are_built_in_linear_time() -> None:
    def flow() -> None:
        nodes = [notify() for _ in range(10_000)]
        extract(nodes)  # type: ignore[arg-type]

    tasks = built(flow).tasks
    assert len(tasks) == 10_001
    assert len(tasks[-1].upstream) == 10_000


def test_a_workflow_shows_what_it_is() -> None:
    assert isinstance(daily, Workflow)
    assert (repr(daily), repr(extract)) == ("<workflow daily>", f"<task {MODULE}:extract>")
