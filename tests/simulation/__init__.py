"""Coordinators, agents and users in one thread and no time: the production code under bad luck that a seed repeats.

What is real: the coordinator's owner, shard loop, board, reports, timers, watchers and catalog (`app/`), all of its
domain, and the agent's domain (the life of an attempt, admission). What is a model: time (`timeline`, `loop`), the
network (`network`), Postgres (`tables`, `store`), the agent's session around its domain (`agent`), and users. `adapter`
is the one place that knows how the production code is held; `world` puts it all together, `faults` harms it, and
`oracle` judges each step by the written semantics and by rows, executions and answers that it has seen itself.

    python -m tests.simulation --seeds 1000            many worlds, and the mutants with --mutants
    python -m tests.simulation --seed 17               one of them again, with its trace
"""
