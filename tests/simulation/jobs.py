"""What a process of the pool is given to do; spawned processes find it here by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from tests.simulation.guards import MUTANTS
from tests.simulation.playing import FoundError, killer, play


def play_some(seeds: Iterable[int], steps: int) -> tuple[int, list[str]]:
    """Return the steps that worlds took, and what they found."""
    done, failed = 0, []
    for seed in seeds:
        try:
            done += play(seed, steps).timeline.steps
        except FoundError as error:
            done += error.world.timeline.steps if error.world else 0
            failed.append(str(error))
    return done, failed


def survivor(number: int) -> str:
    """Return a mutant's name if no world notices it."""
    warnings.simplefilter("ignore")
    return "" if killer(MUTANTS[number]) is not None else MUTANTS[number].name
