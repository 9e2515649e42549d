"""What commands print, as it looks: compared with the snapshots beside this file."""

from __future__ import annotations

import json
from dataclasses import replace

import click
from syrupy.assertion import SnapshotAssertion

from podium.blob_transfer import AsyncBlobs
from podium.channels import Channels
from podium.cli.show import agents, outputs, plain, problem, runs, tasks, workflows
from podium.cli.show.table import render
from podium.errors import (
    FieldViolation,
    InvalidParametersError,
    InvalidSettingError,
    InvalidWorkflowError,
    PodiumError,
    RunNotFoundError,
    TaskNotFoundError,
)
from podium.files import AsyncFile
from podium.model.states import AgentState, AttemptState, FailureKind, RunState, TaskRunState
from tests.unit.cli.builders import (
    NOW,
    RUN,
    a_failure,
    a_run,
    a_spec,
    a_task_run,
    a_workflow,
    an_agent,
    an_attempt,
    at,
)

COUNTS = {
    TaskRunState.PENDING: 6,
    TaskRunState.SCHEDULED: 0,
    TaskRunState.RUNNING: 2,
    TaskRunState.SUCCEEDED: 3,
    TaskRunState.FAILED: 1,
}


def text(lines: str) -> str:
    """Return lines without colours."""
    return click.unstyle(lines)


def a_file() -> AsyncFile:
    return AsyncFile("report.html", 12_345, "ab" * 32, AsyncBlobs(Channels(("127.0.0.1:1",))))


def test_runs_are_a_table(snapshot: SnapshotAssertion) -> None:
    found = [
        a_run(),
        a_run(state=RunState.SUCCEEDED, end_time=at(3.7)),
        a_run(state=RunState.CANCELLED, end_time=at(61), reason="wrong month"),
        a_run(state=RunState.QUEUED, start_time=None),
    ]
    assert text(render(runs.table(found, NOW))) == snapshot


def test_a_run_is_a_card(snapshot: SnapshotAssertion) -> None:
    run = a_run(params={"year": 2013}, counts=COUNTS, state=RunState.FAILED, end_time=at(30), reason="clean failed")
    assert text(runs.details(run, NOW)) == snapshot


def test_the_progress_of_a_run_is_one_line(snapshot: SnapshotAssertion) -> None:
    far = [
        a_run(state=RunState.QUEUED, start_time=None),
        a_run(counts=COUNTS),
        a_run(counts={TaskRunState.PENDING: 12}),
    ]
    assert [runs.progress(run, NOW) for run in far] == snapshot


def test_task_runs_are_a_table(snapshot: SnapshotAssertion) -> None:
    found = [
        a_task_run("extract"),
        a_task_run("clean", TaskRunState.FAILED, failure=a_failure(), attempt=3, agent="agent-2"),
        a_task_run("load", TaskRunState.RETRYING, failure=a_failure(), retry_time=at(120), end_time=None),
        a_task_run("month", TaskRunState.RUNNING, map_index=3, end_time=None),
        a_task_run("report", TaskRunState.PENDING, attempt=0, agent="", start_time=None, end_time=None),
    ]
    assert text(render(tasks.table(found, NOW))) == snapshot


def test_attempts_are_a_table(snapshot: SnapshotAssertion) -> None:
    lost = a_failure(kind=FailureKind.AGENT_LOST, message="agent-2 was not heard from for 30 s", traceback="")
    found = [
        an_attempt("clean", 1, AttemptState.LOST, agent="agent-2", failure=lost, log_bytes=0),
        an_attempt("clean", 2),
        an_attempt("month", 1, AttemptState.ASSIGNED, map_index=3, start_time=None, end_time=None, log_bytes=0),
    ]
    assert text(render(tasks.attempts(found, NOW))) == snapshot


def test_a_failure_shows_the_remote_traceback_once(snapshot: SnapshotAssertion) -> None:
    failed = [
        a_task_run("clean", TaskRunState.FAILED, failure=a_failure()),
        a_task_run(
            "make",
            TaskRunState.FAILED,
            failure=a_failure(kind=FailureKind.EXIT_CODE, message="exit code 2", traceback=""),
        ),
        a_task_run("ghost", TaskRunState.UNKNOWN, agent=""),
    ]
    assert text("\n".join(map(tasks.failed, failed))) == snapshot


def test_agents_are_a_table(snapshot: SnapshotAssertion) -> None:
    found = [
        an_agent(labels={"disk": "ssd", "zone": "a"}),
        an_agent("agent-2", state=AgentState.LOST, live_attempts=0, cpu_millis_used=0, memory_bytes_used=0),
        an_agent("agent-3", draining=True),
    ]
    assert text(render(agents.table(found))) == snapshot


def test_an_agent_is_a_card(snapshot: SnapshotAssertion) -> None:
    assert text(agents.details(an_agent(labels={"disk": "ssd"}))) == snapshot


def test_workflows_are_a_table(snapshot: SnapshotAssertion) -> None:
    assert text(render(workflows.table([a_workflow(), a_workflow(name="words", version=12)]))) == snapshot


def test_a_deployment_tells_what_is_new(snapshot: SnapshotAssertion) -> None:
    found = [a_workflow(created=True), a_workflow(name="words", version=12)]
    assert text(render(workflows.deployed(found))) == snapshot


def test_a_workflow_is_a_card_with_its_parameters_and_tasks(snapshot: SnapshotAssertion) -> None:
    assert text(workflows.details(a_workflow(spec=a_spec()))) == snapshot


def test_a_workflow_as_json_has_the_definition_as_the_api_writes_it(snapshot: SnapshotAssertion) -> None:
    assert json.dumps(plain.workflow(a_workflow(spec=a_spec())), indent=2) == snapshot


def test_a_run_as_json_has_every_field(snapshot: SnapshotAssertion) -> None:
    assert json.dumps(plain.run(a_run(params={"year": 2013}, counts=COUNTS)), indent=2) == snapshot


def test_a_task_run_as_json_has_every_field(snapshot: SnapshotAssertion) -> None:
    run = a_task_run("clean", TaskRunState.FAILED, failure=a_failure())
    assert json.dumps(plain.plain(run), indent=2) == snapshot


def test_outputs_are_a_line_a_task_with_files_by_name(snapshot: SnapshotAssertion) -> None:
    values = {"total": 6, "report": {"page": a_file(), "rows": [1, 2]}, "word": "hello", "long": ["x" * 50] * 20}
    assert text(outputs.summary(values)) == snapshot


def test_outputs_as_json_have_files_as_the_api_writes_them() -> None:
    wanted = {"$file": {"sha256": "ab" * 32, "name": "report.html", "size": 12_345}}
    assert outputs.as_json({"report": [a_file(), {"again": a_file()}]}) == {"report": [wanted, {"again": wanted}]}


def test_errors_are_a_line_with_the_next_command(snapshot: SnapshotAssertion) -> None:
    found: list[Exception] = [
        RunNotFoundError("There is no run x.", run_id="x"),
        TaskNotFoundError("There is no task y.", run_id=RUN, task="y"),
        InvalidParametersError(
            "The parameters do not fit the workflow.",
            (FieldViolation("params.year", "It must be an integer."),),
            workflow="flights",
        ),
        InvalidWorkflowError(
            "The file has 2 problems.",
            (FieldViolation("tasks[0].key", "It is empty.", 7), FieldViolation("name", "It is missing.")),
            file="flow.yaml",
        ),
        InvalidSettingError("lease: too small", (FieldViolation("lease", "too small"),)),
        PodiumError("Told over\n two lines."),
        FileNotFoundError(2, "No such file or directory", "params.json"),
        TimeoutError(),
    ]
    assert ["\n".join(problem.lines(error)) for error in found] == snapshot


def test_every_advised_command_is_one_that_exists() -> None:
    from podium.cli.app import root

    for command in (line.format_map(problem.Blanks({})) for line in problem.NEXT.values()):
        words = command.split()
        if words[0] == "podium":
            with root.make_context("podium", words[1:2]) as context:
                assert root.get_command(context, words[1]) is not None, command


def test_a_run_under_way_is_measured_up_to_now() -> None:
    assert "1m30s" in text(runs.details(replace(a_run(), start_time=at(0)), NOW))
