"""Random worlds: safety after every step, and an end for everything once faults stop.

A failure names its seed; `make simulate SEED=n STEPS=700` plays that world again and shows its trace. The variable
`PODIUM_TEST_SEED` moves the first seed, so that a long run by hand sees others than every build does.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from podium_coordinator.domain.states import AttemptState, RunState, TaskRunState
from tests.simulation.playing import play
from tests.simulation.world import World

FIRST = int(os.environ.get("PODIUM_TEST_SEED", "0"))
WORLDS = 1_000
PER_TEST = 50
STEPS = 700


@pytest.mark.parametrize("first", range(FIRST, FIRST + WORLDS, PER_TEST))
def test_safety_holds_at_every_step_and_everything_ends(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        play(seed, STEPS)


def test_a_seed_repeats_its_world_in_any_process() -> None:
    def digest(hash_seed: str) -> str:
        told = [sys.executable, "-m", "tests.simulation", "--seed", "5", "--digest"]
        return subprocess.run(
            told, env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True, text=True
        ).stdout

    assert digest("1") == digest("2") == f"{play(5).digest()}\n"


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [play(seed) for seed in range(20)]


def test_the_worlds_see_every_end_there_is(worlds: list[World]) -> None:
    runs = [rows for world in worlds for rows in world.store.tables.runs.values()]
    attempts = {row.state for rows in runs for of_task in rows.attempts for row in of_task}
    without_attempt = {row.state for rows in runs for row in rows.ended.values()}
    assert {rows.run.state for rows in runs} == {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    assert attempts == set(AttemptState) - {AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.UNKNOWN}
    assert without_attempt == {TaskRunState.FAILED, TaskRunState.SKIPPED, TaskRunState.UPSTREAM_FAILED}


def test_the_worlds_are_as_bad_as_they_claim(worlds: list[World]) -> None:
    told = {what for world in worlds for _, what, *_ in world.trace}
    assert {"refused: an old epoch", "done, and nobody knows", "done late, or not", "not done"} <= told
    assert max(world.store.epoch for world in worlds) > 5
    assert max(len(world.agents) for world in worlds) >= 20
    assert any(world.coordinator_count == 3 for world in worlds)
    assert sum(len(world.judge.ledger.told_over) for world in worlds) > 5


def test_a_run_by_hand_tells_what_it_played() -> None:
    told = [sys.executable, "-m", "tests.simulation", "--seeds", "3-8", "--steps", "300", "--no-mutants"]
    ended = subprocess.run(told, check=True, capture_output=True, text=True)
    assert ended.stdout.startswith("6 seeds, ")
    assert ended.stdout.endswith(", 0 failures\n")
