"""Faults put into the product one at a time: a function with one piece of its source replaced."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType

PATCHED = ("podium_coordinator.", "podium_agent.domain.", "podium.model.", "tests.simulation.")


@dataclass(frozen=True)
class Mutant:
    """A function of the product, or of the model's side of a guard, with one piece of its source replaced."""

    name: str
    function: Callable[..., object]
    old: str
    new: str
    also: Mutant | None = None
    """Another guard that says the same: only without both of them something happens."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Put the fault in wherever the function is known."""
        undo: list[Callable[[], None]] = []
        try:
            self._plant(undo)
            if self.also is not None:
                self.also._plant(undo)
            yield
        finally:
            for action in undo:
                action()

    def _plant(self, undo: list[Callable[[], None]]) -> None:
        original, mutated = self.function, self._mutated()
        owner = original.__qualname__.rpartition(".")[0]
        if owner:
            _exchange(getattr(sys.modules[original.__module__], owner), original.__name__, mutated, undo)
            return
        modules = [module for name, module in sys.modules.items() if name.startswith(PATCHED)]
        for module in modules:
            for name, value in list(vars(module).items()):
                if value is original:
                    _exchange(module, name, mutated, undo)
                elif isinstance(value, dict) and original in value.values():
                    table = {key: mutated if of is original else of for key, of in value.items()}
                    _exchange(module, name, table, undo)

    def _mutated(self) -> FunctionType:
        assert isinstance(self.function, FunctionType)
        source = textwrap.dedent(inspect.getsource(self.function))
        found = source.count(self.old)
        assert found == 1, (
            f"{self.name}: {self.old!r} is {found} times in {self.function.__qualname__}; bring it up to date"
        )
        text = "from __future__ import annotations\n" + source.replace(self.old, self.new)
        code = compile(text, f"<{self.name}>", "exec", dont_inherit=True)
        made: dict[str, FunctionType] = {}
        exec(code, self.function.__globals__, made)  # noqa: S102 - our own source with one of our own changes
        return made[self.function.__name__]


def without(
    function: Callable[..., object], piece: str, name: str, instead: str = "", also: Mutant | None = None
) -> Mutant:
    return Mutant(name, function, piece, instead, also)


def _exchange(target: object, name: str, value: object, undo: list[Callable[[], None]]) -> None:
    before = getattr(target, name)
    undo.append(lambda: setattr(target, name, before))
    setattr(target, name, value)
