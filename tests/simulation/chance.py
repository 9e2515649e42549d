"""Draws that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")


class Chance:
    """A stream of draws; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._draws = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._below: Callable[[], float] = self._draws.random

    def below(self, bound: int) -> int:
        return int(self._below() * bound)

    def happens(self, probability: float) -> bool:
        return self._below() < probability

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self._below()

    def wait(self, mean: float) -> float:
        """Return seconds until something that happens on average every `mean` seconds."""
        return self._draws.expovariate(1 / mean)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], most: int) -> list[T]:
        """Return up to `most` of the options, in any order."""
        return self._draws.sample(options, self.below(min(most, len(options)) + 1))

    def shuffled(self, options: Sequence[T]) -> list[T]:
        return self._draws.sample(options, len(options))

    def weighted(self, weights: Mapping[T, int]) -> T:
        return self._draws.choices(list(weights), [*weights.values()])[0]

    def bytes(self, count: int) -> bytes:
        return self._draws.randbytes(count)

    def uuid(self) -> UUID:
        return UUID(int=self._draws.getrandbits(128))
