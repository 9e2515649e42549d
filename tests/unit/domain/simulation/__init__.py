"""A whole shard in one thread and no time: the real domain between a model database, model agents and bad luck.

`World` is what there is and what can happen to it; each thing that can happen is a method that draws what it needs from
a `Chance`. After every one of them an independent ledger judges what the domain did. `driver` plays worlds by seed,
`test_stateful` lets Hypothesis play them.
"""
