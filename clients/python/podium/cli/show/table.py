"""Lines up cells into columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Cell:
    """A text of one line and, for terminals, its colour."""

    text: str
    color: str | None = None
    right: bool = False


Row = list[Cell | str]


@dataclass(frozen=True, slots=True)
class Table:
    """A title per column and rows of as many cells."""

    titles: tuple[str, ...]
    rows: Sequence[Row]


def number(value: object) -> Cell:
    """Return a cell whose text ends at the column's right edge."""
    return Cell(str(value), right=True)


_GAP = "  "


def _cell(value: Cell | str) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(" ".join(cell.text.split()), cell.color, cell.right)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _padded(cell: Cell, width: int) -> str:
    space = " " * (width - _width(cell.text))
    text = click.style(cell.text, fg=cell.color) if cell.color else cell.text
    return space + text if cell.right else text + space


def _line(cells: Sequence[Cell], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _shortened(cell: Cell, width: int) -> Cell:
    from rich.cells import set_cell_size

    if _width(cell.text) <= width:
        return cell
    return Cell(set_cell_size(cell.text, max(width - 1, 1)) + "…", cell.color, cell.right)


def render(table: Table, width: int | None = None) -> str:
    """Return the table's lines. With a `width` in characters the last column is shortened to fit it."""
    rows = [[_cell(value) for value in row] for row in table.rows]
    right = [any(cell.right for cell in column) for column in zip(*rows, strict=True)] or [False] * len(table.titles)
    lines = [[Cell(title, right=end) for title, end in zip(table.titles, right, strict=True)], *rows]
    widths = [max(_width(cell.text) for cell in column) for column in zip(*lines, strict=True)]
    if width is not None:
        widths[-1] = max(min(widths[-1], width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)), 8)
        lines = [[*line[:-1], _shortened(line[-1], widths[-1])] for line in lines]
    return "\n".join(_line(line, widths) for line in lines)


def card(fields: Sequence[tuple[str, Cell | str]]) -> str:
    """Return one line per field, "name  value", leaving out fields without a value."""
    shown = [(name, _cell(value)) for name, value in fields]
    kept = [(name, cell) for name, cell in shown if cell.text]
    widths = [max((len(name) for name, _ in kept), default=0), 0]
    return "\n".join(_line([Cell(name), cell], [widths[0], _width(cell.text)]) for name, cell in kept)
