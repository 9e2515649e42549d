"""The statements of the journal: a batch as few of them, each over columns of any length.

Every UPDATE names the rows it is to hit and fails (`podium.expect`, SQLSTATE PD002) when it hits others: a row that is
missing, has another token or is past the state it should be in means that memory and database disagree.
"""

from __future__ import annotations

from typing import Final, LiteralString

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
