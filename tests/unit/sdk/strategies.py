"""Random values and definitions, all of them sound."""

from __future__ import annotations

from hypothesis import strategies as st

from podium.model.exactness import MAX_INTEGER, canonical
from podium.model.spec import (
    MISSING,
    Action,
    Binding,
    JsonValue,
    ListBinding,
    Literal,
    ObjectBinding,
    Output,
    Parameter,
    ParameterSpec,
    PythonAction,
    Resources,
    RetryPolicy,
    ShellAction,
    TaskSpec,
    TriggerRule,
    WorkflowSpec,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(str.isidentifier)
KEYS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
SECONDS = st.integers(1, 2**40).map(lambda number: number / 64)

EXACT_NUMBERS = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(-1e15, 1e15, allow_nan=False)
SCALARS = st.none() | st.booleans() | EXACT_NUMBERS | TEXT
EXACT = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
).map(canonical)

ANY_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: key[:1] != "$"), inner, max_size=4)
    ),
    max_leaves=12,
)


def bindings(upstream: tuple[str, ...], parameters: tuple[str, ...]) -> st.SearchStrategy[Binding]:
    leaves: st.SearchStrategy[Binding] = EXACT.map(Literal)
    if upstream:
        leaves |= st.builds(Output, st.sampled_from(upstream), st.lists(TEXT, max_size=2).map(tuple))
    if parameters:
        leaves |= st.builds(Parameter, st.sampled_from(parameters))
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=2).map(tuple).map(ListBinding)
            | st.dictionaries(TEXT, inner, max_size=2).map(_pairs).map(ObjectBinding)
        ),
        max_leaves=4,
    )


def _pairs(values: dict[str, Binding]) -> tuple[tuple[str, Binding], ...]:
    return tuple(sorted(values.items()))


PARAMETERS = ("p", "q")
TASKS = ("a", "_b", "c.1", "d-2")
RULES = (TriggerRule.ALL_SUCCESS, TriggerRule.ONE_SUCCESS, TriggerRule.NONE_FAILED)


def _named(
    names: st.SearchStrategy[str], values: st.SearchStrategy[Binding]
) -> st.SearchStrategy[tuple[tuple[str, Binding], ...]]:
    return st.dictionaries(names, values, max_size=2).map(_pairs)


def _actions(source: st.SearchStrategy[Binding]) -> st.SearchStrategy[Action]:
    variables = _named(st.sampled_from(["A", "B_1"]), source)
    return (
        st.builds(
            PythonAction,
            st.sampled_from(["steps:run", "a.b.c:D.e"]),
            st.lists(source, max_size=2).map(tuple),
            _named(st.sampled_from(["x", "y"]), source),
        )
        | st.builds(ShellAction, st.just(("echo", "hello")), cwd=st.sampled_from(["", "sub/folder"]))
        | st.builds(ShellAction, script=st.just("true"), env_bindings=variables)
    )


def _task(position: int) -> st.SearchStrategy[TaskSpec]:
    upstream = TASKS[:position]
    return st.builds(
        TaskSpec,
        st.just(TASKS[position]),
        _actions(bindings(upstream, PARAMETERS)),
        st.just(upstream),
        st.sampled_from(RULES),
        st.builds(RetryPolicy, st.integers(0, 1000), SECONDS, st.floats(1, 100), SECONDS),
        st.builds(Resources, st.integers(0, 1_024_000), st.integers(0, 2**50)),
        st.none() | SECONDS,
        st.none() | SECONDS,
        st.integers(-1000, 1000),
        st.booleans(),
        st.dictionaries(NAMES, TEXT, max_size=2).map(lambda labels: tuple(sorted(labels.items()))),
    )


def _parameter(name: str) -> st.SearchStrategy[ParameterSpec]:
    return st.builds(ParameterSpec, st.just(name), default=st.just(MISSING) | EXACT.map(Literal), description=TEXT)


def _workflows(size: int) -> st.SearchStrategy[WorkflowSpec]:
    return st.builds(
        WorkflowSpec,
        NAMES,
        st.tuples(*map(_task, range(size))),
        st.tuples(*map(_parameter, PARAMETERS)),
        TEXT,
        st.none() | SECONDS,
    )


WORKFLOWS = st.one_of(*map(_workflows, (1, 2, 4)))
