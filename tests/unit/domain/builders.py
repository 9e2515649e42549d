"""Defaults for everything a test of the domain needs: it names only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from podium.model.spec import Binding, PythonAction, Resources, RetryPolicy, TaskSpec, TriggerRule, WorkflowSpec
from podium_coordinator.domain.graph import SchedulingClass, compile_graph
from podium_coordinator.domain.lifecycle import Answer, Finish, Speaker, assign, report_finished, report_started, start
from podium_coordinator.domain.records import AttemptBorn, AttemptEnded, AttemptRecord, Failure, RunRecord
from podium_coordinator.domain.run import Effects, LiveAttempt, Run, new_run
from podium_coordinator.domain.seating import Seat
from podium_coordinator.domain.states import AttemptState, FailureKind, RunState, TaskRunState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN_ID = UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001)
AGENT = UUID(int=0xA1)
OTHER_AGENT = UUID(int=0xA2)
BROKEN = Failure(FailureKind.USER_ERROR, "ValueError: no such carrier", exception_type="ValueError")
UNHARMED = Finish(AttemptState.SUCCEEDED, output=b"1")


def later(seconds: float) -> datetime:
    """Return an instant after NOW."""
    return NOW + timedelta(seconds=seconds)


def token(number: int) -> bytes:
    """Return the token that `given_to` uses for an attempt of that number."""
    return (0x70 + number).to_bytes(16, "big")


def a_task(
    key: str,
    *upstream: str,
    rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    retry: RetryPolicy | None = None,
    start_timeout: float | None = None,
    run_timeout: float | None = None,
    required: bool = False,
    priority: int = 0,
    resources: Resources | None = None,
    labels: tuple[tuple[str, str], ...] = (),
    args: tuple[Binding, ...] = (),
) -> TaskSpec:
    return TaskSpec(
        key=key,
        action=PythonAction(f"flights:{key}", args),
        upstream=upstream,
        trigger_rule=rule,
        retry=retry or RetryPolicy(),
        resources=resources or Resources(),
        run_timeout=run_timeout,
        start_timeout=start_timeout,
        priority=priority,
        required=required,
        agent_labels=labels,
    )


def a_spec(*tasks: TaskSpec, run_timeout: float | None = None) -> WorkflowSpec:
    return WorkflowSpec("delays", tasks, run_timeout=run_timeout)


def a_queued_run(*tasks: TaskSpec, run_id: UUID = RUN_ID, run_timeout: float | None = None) -> Run:
    return new_run(run_id, compile_graph(a_spec(*tasks, run_timeout=run_timeout)))


def a_run(*tasks: TaskSpec, run_id: UUID = RUN_ID, run_timeout: float | None = None) -> Run:
    """Return a run that has been started at NOW."""
    run = a_queued_run(*tasks, run_id=run_id, run_timeout=run_timeout)
    start(run, NOW, Effects())
    return run


def given_to(run: Run, index: int = 0, agent_id: UUID = AGENT, at: datetime = NOW) -> Speaker:
    """Assign the next attempt of a task run; return who speaks for it."""
    attempt = assign(run, index, token(run.numbers[index] + 1), agent_id, at, Effects())
    return Speaker(index, attempt.number, attempt.token, agent_id)


def running_on(run: Run, index: int = 0, agent_id: UUID = AGENT, at: datetime = NOW) -> Speaker:
    """Assign the next attempt of a task run and let it begin to execute."""
    speaker = given_to(run, index, agent_id, at)
    assert report_started(run, speaker, at, Effects()) is Answer.ACCEPTED
    return speaker


def ended(run: Run, index: int, finish: Finish, at: datetime = NOW) -> None:
    """Take a scheduled task run through one whole attempt."""
    speaker = running_on(run, index, at=at)
    assert report_finished(run, speaker, finish, at, Effects()) is Answer.ACCEPTED


def failing(kind: FailureKind = FailureKind.USER_ERROR, *, no_retry: bool = False) -> Finish:
    return Finish(AttemptState.FAILED, failure=replace(BROKEN, kind=kind), no_retry=no_retry)


def states(run: Run) -> dict[str, TaskRunState]:
    """Return where every task run stands, by the key of its task."""
    return {key: run.state_of(index) for index, key in enumerate(run.graph.keys)}


def a_live_attempt(speaker: Speaker, *, at: datetime = NOW, started_at: datetime | None = None) -> LiveAttempt:
    state = AttemptState.ASSIGNED if started_at is None else AttemptState.RUNNING
    return LiveAttempt(speaker.number, speaker.token, speaker.agent_id, at, state, started_at)


def born(speaker: Speaker, at: datetime = NOW, run_id: UUID = RUN_ID) -> AttemptBorn:
    return AttemptBorn(run_id, speaker.index, -1, speaker.number, speaker.token, speaker.agent_id, at)


def an_end(speaker: Speaker, finish: Finish, **differences: object) -> AttemptEnded:
    """Return the row an attempt's end leaves: as reported, closing, at NOW, unless told otherwise."""
    row = AttemptEnded(
        run_id=RUN_ID,
        task=speaker.index,
        map_index=-1,
        number=speaker.number,
        token=speaker.token,
        state=finish.state,
        at=NOW,
        started_at=finish.started_at,
        output=finish.output,
        failure=finish.failure,
        closes=True,
        log=finish.log,
        log_bytes=finish.log_bytes,
        blobs=finish.blobs,
    )
    return replace(row, **differences)  # type: ignore[arg-type] # the names are checked at run time


def a_run_record(state: RunState = RunState.RUNNING, outcome: RunState | None = None, reason: str = "") -> RunRecord:
    return RunRecord(
        run_id=RUN_ID,
        shard=0,
        workflow="delays",
        version=1,
        task_count=1,
        params=b"{}",
        state=state,
        request_id=None,
        trace_id=bytes(16),
        created_at=NOW,
        started_at=None if state is RunState.QUEUED else NOW,
        reason=reason,
        outcome=outcome,
    )


def an_attempt_record(
    task: int = 0, number: int = 1, state: AttemptState = AttemptState.SUCCEEDED, **differences: object
) -> AttemptRecord:
    """Return a stored attempt of AGENT, with `token(number)`; one that ended closed its task run unless told not to."""
    closes = state not in {AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.TAKEN_BACK}
    row = AttemptRecord(task, -1, number, token(number), AGENT, "agent-1", state, NOW, closes=closes)
    return replace(row, **differences)  # type: ignore[arg-type] # the names are checked at run time


def needs(
    cpu_millis: int = 1000,
    memory_bytes: int = 0,
    priority: int = 0,
    labels: tuple[tuple[str, str], ...] = (),
) -> SchedulingClass:
    return SchedulingClass(priority, cpu_millis, memory_bytes, labels)


def a_seat(
    number: int = 1, *, cpu_millis: int = 4000, memory_bytes: int = 8_000, labels: tuple[tuple[str, str], ...] = ()
) -> Seat:
    return Seat(UUID(int=0xA0 + number), f"agent-{number}", cpu_millis, memory_bytes, frozenset(labels))
