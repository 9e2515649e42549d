"""The statements of the journal: a batch as few of them, each over columns of any length.

Every UPDATE names the rows it is to hit and fails (`podium.expect`, SQLSTATE PD002) when it hits others: a row that is
missing, has another token or is past the state it should be in means that memory and database disagree.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, LiteralString

from podium_coordinator.store.columns import Bigints, Blobs, Flags, Ints, Texts, Times, Uuids
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

    Attempts = Sequence[AttemptBorn] | Sequence[AttemptRuns] | Sequence[AttemptEnded]
    Parameters = Mapping[str, object]
    Statement = tuple[LiteralString, Parameters]

FENCE: Final[LiteralString] = "SELECT podium.fence(%(shard)s::int, %(epoch)s::bigint)"

START_RUNS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE run AS r SET state = 'running', started_at = u.at
        FROM unnest(%(run_id)s::uuid[], %(at)s::timestamptz[]) AS u (run_id, at)
        WHERE r.run_id = u.run_id AND r.state = 'queued'
        RETURNING 1
    )
    SELECT podium.expect('runs_started', cardinality(%(run_id)s::uuid[]), count(*)) FROM hit
"""

CANCEL_RUNS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE run AS r SET state = 'cancelling', reason = u.reason, outcome = u.outcome
        FROM unnest(%(run_id)s::uuid[], %(reason)s::text[], %(outcome)s::text[]) AS u (run_id, reason, outcome)
        WHERE r.run_id = u.run_id AND r.state IN ('queued', 'running', 'paused', 'cancelling')
        RETURNING 1
    )
    SELECT podium.expect('runs_cancelling', cardinality(%(run_id)s::uuid[]), count(*)) FROM hit
"""

END_RUNS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE run AS r SET state = u.state, reason = u.reason, finished_at = u.at, counts = u.counts::jsonb
        FROM unnest(%(run_id)s::uuid[], %(state)s::text[], %(reason)s::text[], %(at)s::timestamptz[],
                    %(counts)s::text[])
            AS u (run_id, state, reason, at, counts)
        WHERE r.run_id = u.run_id AND r.state IN ('queued', 'running', 'paused', 'cancelling')
        RETURNING 1
    )
    SELECT podium.expect('runs_ended', cardinality(%(run_id)s::uuid[]), count(*)) FROM hit
"""

BEAR_ATTEMPTS: Final[LiteralString] = """
    INSERT INTO attempt (run_id, task, map_index, number, token, agent_id, state, assigned_at)
    SELECT u.run_id, u.task, u.map_index, u.number, u.token, u.agent_id, 'assigned', u.at
    FROM unnest(%(run_id)s::uuid[], %(task)s::int[], %(map_index)s::int[], %(number)s::int[], %(token)s::uuid[],
                %(agent_id)s::uuid[], %(at)s::timestamptz[])
        AS u (run_id, task, map_index, number, token, agent_id, at)
"""

RUN_ATTEMPTS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE attempt AS a SET state = 'running', started_at = u.at
        FROM unnest(%(run_id)s::uuid[], %(task)s::int[], %(map_index)s::int[], %(number)s::int[], %(token)s::uuid[],
                    %(at)s::timestamptz[])
            AS u (run_id, task, map_index, number, token, at)
        WHERE a.run_id = u.run_id AND a.task = u.task AND a.map_index = u.map_index AND a.number = u.number
          AND a.token = u.token AND a.state = 'assigned'
        RETURNING 1
    )
    SELECT podium.expect('attempts_running', cardinality(%(run_id)s::uuid[]), count(*)) FROM hit
"""

END_ATTEMPTS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE attempt AS a
        SET state = u.state, finished_at = u.at, started_at = coalesce(u.started_at, a.started_at), output = u.output,
            failure = u.failure, closes = u.closes, retry_at = u.retry_at, log = u.log, log_bytes = u.log_bytes
        FROM unnest(%(run_id)s::uuid[], %(task)s::int[], %(map_index)s::int[], %(number)s::int[], %(token)s::uuid[],
                    %(state)s::text[], %(at)s::timestamptz[], %(started_at)s::timestamptz[], %(output)s::bytea[],
                    %(failure)s::bytea[], %(closes)s::boolean[], %(retry_at)s::timestamptz[], %(log)s::bytea[],
                    %(log_bytes)s::bigint[])
            AS u (run_id, task, map_index, number, token, state, at, started_at, output, failure, closes, retry_at, log,
                  log_bytes)
        WHERE a.run_id = u.run_id AND a.task = u.task AND a.map_index = u.map_index AND a.number = u.number
          AND a.token = u.token AND a.state IN ('assigned', 'running')
        RETURNING 1
    )
    SELECT podium.expect('attempts_ended', cardinality(%(run_id)s::uuid[]), count(*)) FROM hit
"""

REFER_TO_BLOBS: Final[LiteralString] = """
    INSERT INTO attempt_blob (run_id, task, map_index, number, purpose, sha256, name, size)
    SELECT u.run_id, u.task, u.map_index, u.number, 'output', u.sha256, u.name, u.size
    FROM unnest(%(run_id)s::uuid[], %(task)s::int[], %(map_index)s::int[], %(number)s::int[], %(sha256)s::bytea[],
                %(name)s::text[], %(size)s::bigint[])
        AS u (run_id, task, map_index, number, sha256, name, size)
    ON CONFLICT DO NOTHING
"""

END_TASK_RUNS: Final[LiteralString] = """
    INSERT INTO task_run (run_id, task, map_index, state, failure, finished_at)
    SELECT u.run_id, u.task, u.map_index, u.state, u.failure, u.at
    FROM unnest(%(run_id)s::uuid[], %(task)s::int[], %(map_index)s::int[], %(state)s::text[], %(failure)s::bytea[],
                %(at)s::timestamptz[])
        AS u (run_id, task, map_index, state, failure, at)
"""

# A name belongs to the agent that connected last under it. One that had it before keeps its row, as "name~agent_id", so
# that its attempts still say where they ran.
DISPLACE_AGENTS: Final[LiteralString] = """
    UPDATE agent AS a SET name = a.name || '~' || a.agent_id
    FROM unnest(%(agent_id)s::uuid[], %(name)s::text[], %(connected_at)s::timestamptz[])
        AS u (agent_id, name, connected_at)
    WHERE a.name = u.name AND a.agent_id <> u.agent_id AND a.connected_at <= u.connected_at
"""

CHANGE_AGENTS: Final[LiteralString] = """
    INSERT INTO agent (agent_id, name, state, host, draining, connected_at, changed_at)
    SELECT
        u.agent_id,
        CASE
            WHEN EXISTS (SELECT FROM agent AS other WHERE other.name = u.name AND other.agent_id <> u.agent_id)
            THEN u.name || '~' || u.agent_id
            ELSE u.name
        END,
        u.state, u.host, u.draining, u.connected_at, u.changed_at
    FROM unnest(%(agent_id)s::uuid[], %(name)s::text[], %(state)s::text[], %(host)s::bytea[], %(draining)s::boolean[],
                %(connected_at)s::timestamptz[], %(changed_at)s::timestamptz[])
        AS u (agent_id, name, state, host, draining, connected_at, changed_at)
    ON CONFLICT (agent_id) DO UPDATE SET
        name = excluded.name, state = excluded.state, host = excluded.host, draining = excluded.draining,
        connected_at = excluded.connected_at, changed_at = excluded.changed_at
"""

APPLY_COMMANDS: Final[LiteralString] = """
    WITH hit AS (
        UPDATE command SET applied_at = clock_timestamp()
        WHERE command_id = ANY (%(command_id)s::uuid[]) AND applied_at IS NULL
        RETURNING 1
    )
    SELECT podium.expect('commands_applied', cardinality(%(command_id)s::uuid[]), count(*)) FROM hit
"""


def plan(shard: int, epoch: int, batch: Batch) -> list[Statement]:
    """Return the statements of a batch's transaction, at most twelve, the fence first."""
    return [(FENCE, {"shard": shard, "epoch": epoch}), *_runs_begin(batch), *_attempts(batch), *_rest(batch)]


def _runs_begin(batch: Batch) -> Iterator[Statement]:
    if batch.runs_started:
        yield START_RUNS, _started(batch.runs_started)
    if batch.runs_cancelling:
        yield CANCEL_RUNS, _cancelling(batch.runs_cancelling)


def _attempts(batch: Batch) -> Iterator[Statement]:
    if batch.attempts_born:
        yield BEAR_ATTEMPTS, _born(batch.attempts_born)
    if running := _still_running(batch):
        yield RUN_ATTEMPTS, _running(running)
    if batch.attempts_ended:
        yield END_ATTEMPTS, _ended(batch.attempts_ended)
        if any(attempt.blobs for attempt in batch.attempts_ended):
            yield REFER_TO_BLOBS, _blobs(batch.attempts_ended)
    if batch.task_runs_ended:
        yield END_TASK_RUNS, _task_runs_ended(batch.task_runs_ended)


def _rest(batch: Batch) -> Iterator[Statement]:
    if batch.runs_ended:
        yield END_RUNS, _runs_ended(batch.runs_ended)
    if batch.agents_changed:
        agents = _agents(batch.agents_changed)
        yield DISPLACE_AGENTS, agents
        yield CHANGE_AGENTS, agents
    if batch.commands_applied:
        commands = sorted(set(batch.commands_applied))
        yield APPLY_COMMANDS, {"command_id": Uuids.of(commands)}


def _still_running(batch: Batch) -> Sequence[AttemptRuns]:
    """Leave out attempts that end in the same batch: their end says when they started."""
    if not batch.attempts_running or not batch.attempts_ended:
        return batch.attempts_running
    ended = {attempt.token for attempt in batch.attempts_ended}
    return [attempt for attempt in batch.attempts_running if attempt.token not in ended]


def _names(attempts: Attempts) -> dict[str, object]:
    return {
        "run_id": Uuids.of([attempt.run_id for attempt in attempts]),
        "task": Ints.of([attempt.task for attempt in attempts]),
        "map_index": Ints.of([attempt.map_index for attempt in attempts]),
        "number": Ints.of([attempt.number for attempt in attempts]),
        "token": Uuids.of([attempt.token for attempt in attempts]),
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
