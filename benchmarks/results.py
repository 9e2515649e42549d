"""What a workload found, and how it is told: as JSON, as a table, and against an earlier result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.spread import Figure

NAME, NUMBER = 44, 11


@dataclass
class Result:
    """Figures by name; costs per task by number of tasks or kind of run, then by part; what else is worth knowing."""

    figures: dict[str, Figure] = field(default_factory=dict)
    costs: dict[int | str, dict[str, Figure]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self, title: str) -> dict[str, Any]:
        return {
            "title": title,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "costs_per_task": {
                str(tasks): {name: figure.to_json() for name, figure in costs.items()}
                for tasks, costs in self.costs.items()
            },
            "notes": self.notes,
        }


def table(name: str, told: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> str:
    """Return a workload's result (as JSON) as text; with what it is of an earlier one, when that is given."""
    before = (earlier or {}).get("figures", {})
    lines = [f"{name}  {told['title']}", _heading(earlier is not None)]
    lines += [_row(title, row, _ratio(row, before.get(title))) for title, row in told["figures"].items()]
    if told["costs_per_task"]:
        lines += ["", *_costs(told["costs_per_task"], (earlier or {}).get("costs_per_task", {}))]
    return "\n".join([*lines, *(f"  {note}" for note in told["notes"])])


def ratios(now: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return, by workload and figure, how many times the earlier median the median is now; of what both have."""
    found = {}
    for name, told in now["workloads"].items():
        before = earlier["workloads"].get(name, {}).get("figures", {})
        both = {title: _ratio(row, before.get(title)) for title, row in told["figures"].items()}
        found[name] = {title: ratio for title, ratio in both.items() if ratio is not None}
    return found


def _heading(compared: bool) -> str:
    columns = ["median", "min", "max", "IQR"]
    heads = "".join(f"{column:>{NUMBER}}" for column in columns)
    return f"  {'':<{NAME}}{heads}{'n':>5}  bar{'':<12}" + ("x earlier" if compared else "")


def _row(title: str, row: Mapping[str, Any], ratio: float | None) -> str:
    numbers = [row["median"], row["min"], row["max"], row["q3"] - row["q1"]]
    shown = "".join(f"{number(value):>{NUMBER}}" for value in numbers)
    bar = f"{row['bar']} {'met' if row['met'] else 'MISSED'}" if "bar" in row else ""
    end = f"{ratio:.2f}" if ratio is not None else ""
    return f"  {title + ', ' + row['unit']:<{NAME}}{shown}{row['n']:>5}  {bar:<15}{end}".rstrip()


def _ratio(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> float | None:
    if before is None or not before["median"]:
        return None
    return float(row["median"] / before["median"])


def _costs(costs: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    sizes = list(costs)
    heads = (f"{int(size):,}" if size.isdecimal() else size for size in sizes)
    yield f"  {'per task, by number of tasks':<{NAME}}" + "".join(f"{head:>{2 * NUMBER}}" for head in heads)
    for name in _names([costs[size] for size in sizes]):
        cells = [_cost(costs[size].get(name), before.get(size, {}).get(name)) for size in sizes]
        unit = next(costs[size][name]["unit"] for size in sizes if name in costs[size])
        yield f"  {name + ', ' + unit:<{NAME}}" + "".join(f"{cell:>{2 * NUMBER}}" for cell in cells)


def _names(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in costs for name in each))


def _cost(row: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    ratio = _ratio(row, before)
    return number(row["median"]) + (f" (x{ratio:.2f})" if ratio is not None else "")


def number(value: float) -> str:
    """Return a number with about three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
