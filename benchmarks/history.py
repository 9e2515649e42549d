"""A database with a past: finished runs with very many attempts, written by the server itself."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import psycopg

from benchmarks.cluster import Site
from benchmarks.shapes import fan_out

TASKS = 1_000
"""Tasks of each of the runs."""
BYTES_PER_ATTEMPT = 600
"""Of disk: the row, its index entry, and as much write-ahead log; rounded up."""
RUNS_AT_ONCE = 500

RUNS = """
    INSERT INTO podium.run (run_id, shard, workflow, version, task_count, params, state, fingerprint, trace_id,
                            created_at, started_at, finished_at, counts)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
            || substr(hash, 4, 15))::uuid,
           0, %(workflow)s, 1, %(tasks)s, '{}', 'succeeded', decode(hash, 'hex'), decode(hash, 'hex'), at, at,
           at + interval '1 second', jsonb_build_object('succeeded', %(tasks)s::int)
    FROM (SELECT now() - interval '30 days' + number * interval '1 minute' AS at, md5(number::text) AS hash
          FROM generate_series(%(first)s::int, %(last)s::int) AS number) AS given
    RETURNING run_id
"""

ATTEMPTS = """
    INSERT INTO podium.attempt (run_id, task, map_index, number, token, agent_id, state, assigned_at, started_at,
                                finished_at, closes, output)
    SELECT run_id, task, -1, 1, gen_random_uuid(), '00000000-0000-4000-8000-000000000001', 'succeeded', created_at,
           created_at, finished_at, true, 'null'
    FROM podium.run, generate_series(0, %(tasks)s::int - 1) AS task
    WHERE run_id = ANY (%(runs)s)
    ORDER BY run_id, task
"""


async def fill(site: Site, attempts: int, say: Callable[[str], None]) -> list[UUID]:
    """Write that many finished attempts, and return their runs; afterwards the tables are vacuumed and analysed."""
    spec = fan_out(TASKS - 2, name="history")
    await site.register(spec)
    made: list[UUID] = []
    with psycopg.connect(site.meter.roots.conninfo, autocommit=True) as link:
        link.execute("SET synchronous_commit = off")  # this past need not survive a power failure
        for first in range(0, max(1, attempts // TASKS), RUNS_AT_ONCE):
            last = min(first + RUNS_AT_ONCE, max(1, attempts // TASKS)) - 1
            given = {"workflow": spec.name, "tasks": TASKS, "first": first, "last": last}
            runs = [run_id for (run_id,) in link.execute(RUNS, given).fetchall()]
            link.execute(ATTEMPTS, {"tasks": TASKS, "runs": runs})
            made += runs
            say(f"  {len(made) * TASKS:,} attempts")
        link.execute("VACUUM (ANALYZE) podium.run, podium.attempt")
        link.execute("CHECKPOINT")
    return made
