"""Plays worlds by seed. `python -m tests.unit.domain.simulation.driver SEED` plays one and tells what happens."""

from __future__ import annotations

import sys

from tests.unit.domain.simulation.calm import calm_down
from tests.unit.domain.simulation.chance import Chance
from tests.unit.domain.simulation.happenings import LIKELIHOOD
from tests.unit.domain.simulation.world import World

STEPS = 250


class FoundError(AssertionError):
    """What a world found, with the seed that finds it again."""


def play(seed: int, steps: int = STEPS, tell: bool = False) -> World:
    """Play one world to its end and return it; raises FoundError, whose cause is what the product did wrong."""
    chance = Chance(seed)
    happened = "the beginning"
    try:
        world = World(chance)
        for step in range(steps):
            happening = chance.weighted(LIKELIHOOD)
            happened = f"step {step} ({happening.__name__})"
            if tell:
                sys.stdout.write(f"{world.instant:8.1f}  {happened}\n")
            happening(world, chance)
            world.judge()
        happened = "calming down"
        calm_down(world, chance)
    except Exception as error:
        raise FoundError(f"seed {seed}, {happened}: {type(error).__name__}: {error}") from error
    return world


if __name__ == "__main__":
    play(int(sys.argv[1]), tell=True)
