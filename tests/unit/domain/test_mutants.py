"""Each guard of the domain is taken away once; the simulation must notice."""

from __future__ import annotations

from itertools import count

import pytest

from tests.unit.domain.simulation.driver import FoundError, play
from tests.unit.domain.simulation.mutants import MUTANTS, Mutant

MOST_WORLDS = 40


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_loss_of_a_guard_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch.setattr)
    for seed in count():
        assert seed < MOST_WORLDS, f"{MOST_WORLDS} worlds did not notice: {mutant.name}"
        try:
            play(seed)
        except FoundError:
            return


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
