"""From a batch to the statements that store it, with its values as columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podium_coordinator.store import statements as sql
from podium_coordinator.store.columns import Bigint, Bigints, Blobs, Flags, Int, Ints, Texts, Times, Uuids
from podium_coordinator.store.values import dump_failure, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from podium_coordinator.domain.records import (
        AgentChanged,
        AgentRecord,
        AttemptBorn,
        AttemptEnded,
        AttemptRuns,
        RunCancelling,
        RunEnded,
        RunStarted,
        TaskRunEnded,
    )
    from podium_coordinator.store.batch import Batch
    from podium_coordinator.store.columns import Column
    from podium_coordinator.store.pipeline import Statement

    Attempts = Sequence[AttemptBorn] | Sequence[AttemptRuns] | Sequence[AttemptEnded]
    Parameters = Mapping[str, Column]


def plan(shard: int, epoch: int, batch: Batch) -> list[Statement]:
    """Return the statements of a batch's transaction, at most twelve, the fence first."""
    return [
        (sql.FENCE, {"shard": Int.of(shard), "epoch": Bigint.of(epoch)}),
        *_runs_begin(batch),
        *_attempts(batch),
        *_rest(batch),
    ]


def _runs_begin(batch: Batch) -> Iterator[Statement]:
    if batch.runs_started:
        yield sql.START_RUNS, _started(batch.runs_started)
    if batch.runs_cancelling:
        yield sql.CANCEL_RUNS, _cancelling(batch.runs_cancelling)


def _attempts(batch: Batch) -> Iterator[Statement]:
    if batch.attempts_born:
        yield sql.BEAR_ATTEMPTS, _born(batch.attempts_born)
    if running := _still_running(batch):
        yield sql.RUN_ATTEMPTS, _running(running)
    if batch.attempts_ended:
        yield sql.END_ATTEMPTS, _ended(batch.attempts_ended)
        if any(attempt.blobs for attempt in batch.attempts_ended):
            yield sql.REFER_TO_BLOBS, _blobs(batch.attempts_ended)
    if batch.task_runs_ended:
        yield sql.END_TASK_RUNS, _task_runs_ended(batch.task_runs_ended)


def _rest(batch: Batch) -> Iterator[Statement]:
    if batch.runs_ended:
        yield sql.END_RUNS, _runs_ended(batch.runs_ended)
    if batch.agents_changed:
        agents = _agents(batch.agents_changed)
        yield sql.DISPLACE_AGENTS, agents
        yield sql.CHANGE_AGENTS, agents
    if batch.commands_applied:
        commands = sorted(set(batch.commands_applied))
        yield sql.APPLY_COMMANDS, {"command_id": Uuids.of(commands)}


def _still_running(batch: Batch) -> Sequence[AttemptRuns]:
    """Leave out attempts that end in the same batch: their end says when they started."""
    if not batch.attempts_running or not batch.attempts_ended:
        return batch.attempts_running
    ended = {attempt.token for attempt in batch.attempts_ended}
    return [attempt for attempt in batch.attempts_running if attempt.token not in ended]


def _names(attempts: Attempts) -> dict[str, Column]:
    return {
        "run_id": Uuids.of([attempt.run_id for attempt in attempts]),
        "task": Ints.of([attempt.task for attempt in attempts]),
        "map_index": Ints.of([attempt.map_index for attempt in attempts]),
        "number": Ints.of([attempt.number for attempt in attempts]),
        "token": Uuids.of_bytes([attempt.token for attempt in attempts]),
        "at": Times.of([attempt.at for attempt in attempts]),
    }


def _started(runs: Sequence[RunStarted]) -> Parameters:
    return {
        "run_id": Uuids.of([run.run_id for run in runs]),
        "at": Times.of([run.at for run in runs]),
    }


def _cancelling(runs: Sequence[RunCancelling]) -> Parameters:
    return {
        "run_id": Uuids.of([run.run_id for run in runs]),
        "reason": Texts.of([text(run.reason) for run in runs]),
        "outcome": Texts.of([run.outcome for run in runs]),
    }


def _runs_ended(runs: Sequence[RunEnded]) -> Parameters:
    return {
        "run_id": Uuids.of([run.run_id for run in runs]),
        "state": Texts.of([run.state for run in runs]),
        "reason": Texts.of([text(run.reason) for run in runs]),
        "at": Times.of([run.at for run in runs]),
        "counts": Texts.of([json.dumps(run.counts) for run in runs]),
    }


def _born(attempts: Sequence[AttemptBorn]) -> Parameters:
    return _names(attempts) | {"agent_id": Uuids.of([attempt.agent_id for attempt in attempts])}


def _running(attempts: Sequence[AttemptRuns]) -> Parameters:
    return _names(attempts)


def _ended(attempts: Sequence[AttemptEnded]) -> Parameters:
    return _names(attempts) | {
        "state": Texts.of([attempt.state for attempt in attempts]),
        "started_at": Times.of([attempt.started_at for attempt in attempts]),
        "output": Blobs.of([attempt.output for attempt in attempts]),
        "failure": Blobs.of([dump_failure(attempt.failure) for attempt in attempts]),
        "closes": Flags.of([attempt.closes for attempt in attempts]),
        "retry_at": Times.of([attempt.retry_at for attempt in attempts]),
        "log": Blobs.of([attempt.log for attempt in attempts]),
        "log_bytes": Bigints.of([attempt.log_bytes for attempt in attempts]),
    }


def _blobs(attempts: Sequence[AttemptEnded]) -> Parameters:
    pairs = [(attempt, blob) for attempt in attempts for blob in attempt.blobs]
    return {
        "run_id": Uuids.of([attempt.run_id for attempt, _ in pairs]),
        "task": Ints.of([attempt.task for attempt, _ in pairs]),
        "map_index": Ints.of([attempt.map_index for attempt, _ in pairs]),
        "number": Ints.of([attempt.number for attempt, _ in pairs]),
        "sha256": Blobs.of([sha256 for _, (sha256, _, _) in pairs]),
        "size": Bigints.of([size for _, (_, size, _) in pairs]),
        "name": Texts.of([text(name) for _, (_, _, name) in pairs]),
    }


def _task_runs_ended(ended: Sequence[TaskRunEnded]) -> Parameters:
    return {
        "run_id": Uuids.of([task_run.run_id for task_run in ended]),
        "task": Ints.of([task_run.task for task_run in ended]),
        "map_index": Ints.of([task_run.map_index for task_run in ended]),
        "state": Texts.of([task_run.state for task_run in ended]),
        "failure": Blobs.of([dump_failure(task_run.failure) for task_run in ended]),
        "at": Times.of([task_run.at for task_run in ended]),
    }


def _agents(changed: Sequence[AgentChanged]) -> Parameters:
    agents = _settled([change.agent for change in changed])
    return {
        "agent_id": Uuids.of([agent.agent_id for agent, _ in agents]),
        "name": Texts.of([name for _, name in agents]),
        "state": Texts.of([agent.state for agent, _ in agents]),
        "host": Blobs.of([agent.host for agent, _ in agents]),
        "draining": Flags.of([agent.draining for agent, _ in agents]),
        "connected_at": Times.of([agent.connected_at for agent, _ in agents]),
        "changed_at": Times.of([agent.changed_at for agent, _ in agents]),
    }


def _settled(changed: Sequence[AgentRecord]) -> list[tuple[AgentRecord, str]]:
    """Return the last word on each agent, by id, with its name: of two with one name, the newer keeps it."""
    last: dict[UUID, AgentRecord] = {agent.agent_id: agent for agent in changed}
    holders = {agent.name: agent.agent_id for agent in sorted(last.values(), key=lambda agent: agent.connected_at)}
    return [
        (agent, text(agent.name if holders[agent.name] == agent_id else f"{agent.name}~{agent_id}"))
        for agent_id, agent in sorted(last.items())
    ]
