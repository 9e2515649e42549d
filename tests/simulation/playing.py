"""Plays worlds by seed."""

from __future__ import annotations

from tests.simulation.mutants import Mutant
from tests.simulation.world import World

STEPS = 1_500
MOST_WORLDS = 120
"""Worlds that get to see a mutant before it counts as not noticed."""


class FoundError(AssertionError):
    """What a world found, with the seed that finds it again."""

    def __init__(self, seed: int, world: World | None, error: BaseException) -> None:
        at = f"at {world.timeline.now:.3f} s, step {world.timeline.steps}" if world else "at the beginning"
        super().__init__(f"seed {seed}, {at}: {type(error).__name__}: {error}")
        self.seed = seed
        self.world = world


def play(seed: int, steps: int = STEPS) -> World:
    """Play one world to its end and return it; raises FoundError, whose cause is what the product did wrong."""
    world = None
    try:
        world = World(seed)
        world.play(steps)
    except Exception as error:
        raise FoundError(seed, world, error) from error
    return world


def killer(mutant: Mutant) -> int | None:
    """Return the first seed that notices a mutant; None if none of `MOST_WORLDS` does."""
    with mutant.planted():
        for seed in range(MOST_WORLDS):
            try:
                play(seed)
            except FoundError:
                return seed
    return None
