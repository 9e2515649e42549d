"""Each guard of the product is taken away once; some world must notice."""

from __future__ import annotations

import pytest

from tests.simulation.guards import MUTANTS
from tests.simulation.mutants import Mutant
from tests.simulation.playing import MOST_WORLDS, killer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_loss_of_a_guard_is_noticed(mutant: Mutant) -> None:
    assert killer(mutant) is not None, f"{MOST_WORLDS} worlds did not notice: {mutant.name}"


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
