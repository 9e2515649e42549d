"""Asks DuckDB over files: one short-lived connection and one thread per question, as each task has one core."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import duckdb

Value: TypeAlias = "str | int | float | Path | Sequence[Path]"
Row: TypeAlias = tuple[object, ...]


def query(sql: str, **values: Value) -> list[Row]:
    """Return the rows of a query whose `$name` placeholders take `values`."""
    with duckdb.connect(config={"threads": 1}) as connection:
        rows: list[Row] = connection.execute(sql, _plain(values)).fetchall()
        return rows


def records(sql: str, **values: Value) -> list[dict[str, object]]:
    """Return the rows of a query, each by column name."""
    with duckdb.connect(config={"threads": 1}) as connection:
        result = connection.execute(sql, _plain(values))
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def save(sql: str, target: Path, **values: Value) -> Path:
    """Write the rows of a query to `target`, as Parquet or, by its ending, as CSV; return `target`."""
    with duckdb.connect(config={"threads": 1}) as connection:
        relation = connection.sql(sql, params=_plain(values))
        if target.suffix == ".csv":
            relation.write_csv(str(target), header=True)
        else:
            relation.write_parquet(str(target), compression="zstd")
    return target


def count(table: Path) -> int:
    """Return the number of rows of a Parquet file."""
    [[rows]] = query("SELECT count(*) FROM read_parquet($table)", table=table)
    return int(str(rows))


def _plain(values: Mapping[str, Value]) -> dict[str, object]:
    return {name: _path_text(value) for name, value in values.items()}


def _path_text(value: Value) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | int | float):
        return value
    return [str(item) for item in value]
