from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium import Fail, Retry, RunFailedError, RunState, Skip, TaskRunState, shell, task, workflow
from podium.errors import DefinitionError, InvalidParametersError
from podium.local_run import LocalRun
from podium.model.states import FailureKind
from tests.unit.sdk.pipelines import daily

S, F, U, K = (
    TaskRunState.SUCCEEDED,
    TaskRunState.FAILED,
    TaskRunState.UPSTREAM_FAILED,
    TaskRunState.SKIPPED,
)


@task
def give(value: Any) -> Any:
    return value


@task
def fail(*_: Any) -> None:
    raise ValueError("no")


@task
def skip(*_: Any) -> None:
    raise Skip("not needed")


def ran(define: Callable[..., object], **params: Any) -> LocalRun:
    return workflow(define).test(**params)


def test_a_whole_workflow_runs_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    run = daily.test(year=1)
    assert run.state is RunState.SUCCEEDED
    assert run.result() == run.outputs
    assert run.outputs["total"] == 8
    assert run.outputs["extract"]["file"].read_text() == "1\n"
    assert run.outputs["notify"] is None
    assert run.params == {"year": 1, "note": "none"}
    assert capfd.readouterr().out == "1\n"


def test_parameters_may_be_given_in_order() -> None:
    assert daily.test(5, "x").params == {"year": 5, "note": "x"}
    with pytest.raises(DefinitionError, match="Workflow daily takes 2 parameters; 3 are given"):
        daily.test(5, "x", 1)  # type: ignore[call-arg]


def test_parameters_are_checked_as_on_a_cluster() -> None:
    with pytest.raises(InvalidParametersError) as caught:
        daily.test(yaer=1, note=5)  # type: ignore[call-arg, arg-type]
    assert [violation.field for violation in caught.value.violations] == ["params.yaer", "params.note"]


def test_what_a_task_gets_is_a_copy() -> None:
    @task
    def spoil(rows: list[int], again: list[int]) -> list[list[int]]:
        rows.append(4)
        return [rows, again]

    def flow() -> None:
        rows = give([1, 2])
        spoil(rows, rows)
        spoil(rows, [9])

    run = ran(flow)
    assert run.outputs == {"give": [1, 2], "spoil": [[1, 2, 4], [1, 2]], "spoil_2": [[1, 2, 4], [9]]}


def test_tuples_come_out_as_lists_and_integers_stay_exact() -> None:
    def flow() -> None:
        give(give((1, 2)))

    @task
    def huge() -> int:
        return 3**200

    def big() -> None:
        give(huge())

    assert ran(flow).outputs["give_2"] == [1, 2]
    assert ran(big).outputs["give"] == 3**200


def test_a_result_that_would_not_travel_fails_here_too() -> None:
    @task
    def bad() -> Any:
        return {"a": [{1, 2}]}

    def flow() -> None:
        bad()

    run = ran(flow)
    assert run.states == {"bad": F}
    assert run.failures["bad"].message == "result['a'][0] is a set, which is no JSON value; return sorted(value)."


def test_files_are_handed_on_as_paths_of_copies() -> None:
    @task
    def write() -> dict[str, Any]:
        Path("out").mkdir()
        (Path("out") / "a.txt").write_text("text")
        return {"file": Path("out/a.txt"), "here": str(Path.cwd())}

    @task
    def change(path: Path) -> str:
        assert isinstance(path, Path)
        path.write_text("changed")
        return path.name

    @task
    def read(path: Path) -> str:
        return path.read_text()

    def flow() -> None:
        written = write()
        changed = change(written["file"])
        read(written["file"]).after(changed)

    run = ran(flow)
    assert run.outputs["read"] == "text"
    assert run.outputs["change"] == "a.txt"
    assert run.outputs["write"]["file"].read_text() == "text"
    assert not Path(run.outputs["write"]["here"]).exists()


def test_the_files_go_with_the_run() -> None:
    run = daily.test()
    folder = run.folder
    assert folder.exists()
    del run
    assert not folder.exists()


def test_tasks_work_in_a_scratch_folder_and_the_own_one_is_kept() -> None:
    before = Path.cwd()

    @task
    def leave() -> str:
        os.chdir("/")
        raise ValueError("gone")

    def flow() -> None:
        leave()

    ran(flow)
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("rule", "upstream", "expected"),
    [
        ("all_success", [give], S),
        ("all_success", [give, fail], U),
        ("all_success", [give, skip], K),
        ("all_failed", [fail], S),
        ("all_done", [fail, skip, give], S),
        ("one_success", [fail, give], S),
        ("one_failed", [give], K),
        ("none_failed", [skip, give], S),
        ("none_failed_min_one_success", [skip], K),
        ("all_skipped", [skip], S),
        ("always", [fail], S),
    ],
)
def test_trigger_rules_hold(rule: str, upstream: list[Any], expected: TaskRunState) -> None:
    def flow() -> None:
        nodes = [item.options(key=f"u{index}")(1) for index, item in enumerate(upstream)]
        give.options(key="last", trigger_rule=rule)(1).after(nodes)

    assert ran(flow).states["last"] is expected


def test_a_task_that_does_not_wait_still_runs_once() -> None:
    def flow() -> None:
        give.options(key="any", trigger_rule="one_success")(1).after(give(1), give(2))

    run = ran(flow)
    assert run.attempts == {"give": 1, "any": 1, "give_2": 1}


def test_skips_and_failures_spread() -> None:
    def flow() -> None:
        skip() >> give(1) >> give(2)
        fail() >> give(3) >> give(4)

    run = ran(flow)
    assert run.states == {"skip": K, "give": K, "give_2": K, "fail": F, "give_3": U, "give_4": U}
    assert run.state is RunState.FAILED


def test_leaves_decide_and_required_tasks_too() -> None:
    def hidden(required: bool) -> Callable[[], None]:
        def flow() -> None:
            fail.options(required=required)() >> give.options(trigger_rule="all_done")(1)

        return flow

    assert ran(hidden(False)).state is RunState.SUCCEEDED
    assert ran(hidden(True)).state is RunState.FAILED


def test_larger_priority_goes_first() -> None:
    order: list[int] = []

    @task
    def note(number: int) -> None:
        order.append(number)

    def flow() -> None:
        note(1)
        note.options(priority=5)(2)
        note(3)

    ran(flow)
    assert order == [2, 1, 3]


def test_a_task_is_tried_again_without_waiting() -> None:
    tries: list[int] = []

    @task(retries=5, delay="1h")
    def shaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise Retry("again", after="1d") if len(tries) == 1 else ValueError("no")
        return len(tries)

    def flow() -> None:
        shaky()

    run = ran(flow)
    assert run.outputs == {"shaky": 3}
    assert run.attempts == {"shaky": 3}


def test_the_last_failure_is_told() -> None:
    tries: list[int] = []

    @task(retries=1)
    def shaky() -> None:
        tries.append(1)
        raise ValueError(f"try {len(tries)}")

    def flow() -> None:
        shaky()

    run = ran(flow)
    failure = run.failures["shaky"]
    assert (failure.kind, failure.message) == (FailureKind.USER_ERROR, "ValueError: try 2")
    assert failure.exception_type == "builtins.ValueError"
    assert __file__ in failure.traceback
    assert "local_attempt" not in failure.traceback
    assert str(run.exceptions["shaky"]) == "try 2"


def test_fail_is_final() -> None:
    @task(retries=5)
    def doomed() -> None:
        raise Fail("for good")

    def flow() -> None:
        doomed()

    run = ran(flow)
    assert run.attempts == {"doomed": 1}
    assert run.failures["doomed"].message == "podium.Fail: for good"


def test_an_input_that_is_not_there_is_not_tried_again() -> None:
    def flow() -> None:
        give.options(retries=5, key="last")(give([1])[7])

    run = ran(flow)
    assert run.failures["last"].kind is FailureKind.REJECTED_INPUT
    assert run.failures["last"].message == "The output of 'give' has no '7': it is an array of 1 elements."
    assert run.attempts["last"] == 1


def test_a_task_that_exits_fails() -> None:
    @task
    def leave() -> None:
        sys.exit(3)

    def flow() -> None:
        leave()

    assert ran(flow).failures["leave"].message == (
        "The task called sys.exit(3); return a value, or raise podium.Fail or podium.Skip."
    )


def test_an_interrupt_ends_the_run() -> None:
    @task
    def stop() -> None:
        raise KeyboardInterrupt

    def flow() -> None:
        stop()

    with pytest.raises(KeyboardInterrupt):
        ran(flow)


def test_programs_really_run() -> None:
    def flow() -> None:
        shell("exit 3", key="script")
        shell(["/no/such/program"], key="missing")
        shell("kill -9 $$", key="killed")
        shell("sleep 60 & exec sleep 60", timeout=0.2, key="slow")
        shell('test -z "$(ls)"', key="empty")
        shell(["test", "-f", Path(__file__).name], cwd=".", key="project")

    run = ran(flow)
    assert {key: (failure.kind.value, failure.message) for key, failure in run.failures.items()} == {
        "script": ("exit_code", "The program ended with exit code 3."),
        "missing": (
            "user_error",
            "The program '/no/such/program' cannot be started: [Errno 2] No such file or directory: '/no/such/program'",
        ),
        "killed": ("exit_code", "The program was ended by signal 9."),
        "slow": ("timeout_run", "The program took longer than its timeout of 0.2 s."),
    }
    assert run.failures["killed"].exit_code == -9
    assert (run.states["empty"], run.states["project"]) == (S, S)


def test_result_raises_with_the_tasks_own_exception_behind_it() -> None:
    def flow() -> None:
        fail()

    run = ran(flow)
    with pytest.raises(RunFailedError) as caught:
        run.result()
    assert isinstance(caught.value.__cause__, ValueError)
    text = str(caught.value)
    assert text.startswith("The local run of flow failed.\nTask fail failed (user_error): ValueError: no\nTraceback")
    assert text.rstrip().endswith("ValueError: no")
    assert traceback.format_exception(caught.value)


def test_a_wide_and_a_long_workflow_run_in_linear_time() -> None:
    def flow() -> None:
        last = give(0)
        for _ in range(500):
            last = give(last)
        give([give(index) for index in range(500)])

    run = ran(flow)
    assert len(run.outputs) == 1002
    assert run.outputs["give_1002"] == list(range(500))
