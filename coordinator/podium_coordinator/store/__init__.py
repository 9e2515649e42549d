"""Remembers: Postgres.

Where to look: `embedded` runs a Postgres of our own, `migrate` makes the schema, `pools` opens connections,
`leadership` says who may write a shard, `journal` is the only writer of a shard's runs (its parts: `batch`, `plan`,
`statements`). Reads and the API's own rows: `workflows`, `runs`, `task_runs` (with attempts and outputs), `commands`,
`agents`, `blobs`, `logs`. `faults` holds the crash points. The caller owns the transaction, but in the journal.
"""
