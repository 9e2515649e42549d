"""What can go wrong between us and the database."""

from __future__ import annotations

from typing import Final

from podium.errors import InvalidSettingError, PodiumError, StateError, UnavailableError

FENCED: Final = "PD001"
"""SQLSTATE of `podium.fence`: the epoch is not current."""

MISMATCH: Final = "PD002"
"""SQLSTATE of `podium.expect`: a statement hit other rows than it was told to."""


class FencedError(UnavailableError):
    """The epoch is no longer ours: nothing was written, and nothing may be written under it again."""

    reason = "FENCED"


class UnknownOutcomeError(UnavailableError):
    """A commit's outcome is unknown: take a new epoch, reload, decide again."""

    reason = "UNKNOWN_OUTCOME"


class JournalMismatchError(PodiumError):
    """The database refused a batch because it does not fit what is stored: a fault of ours. Nothing was written."""

    reason = "JOURNAL_MISMATCH"


class DatabaseUnavailableError(UnavailableError):
    """The database does not answer, or has no room. Nothing was written; the same call may work later."""

    reason = "DATABASE_UNAVAILABLE"


class PostgresNotFoundError(StateError):
    """There are no Postgres programs to run an embedded database with."""

    reason = "POSTGRES_NOT_FOUND"


class PostgresStartError(StateError):
    """The embedded Postgres did not start; the message holds the end of its log."""

    reason = "POSTGRES_START"


class PostgresInUseError(StateError):
    """Another process uses the embedded Postgres's data folder."""

    reason = "POSTGRES_IN_USE"


class PostgresVersionError(StateError):
    """The data folder belongs to another major version, or the server is too old."""

    reason = "POSTGRES_VERSION"


class MigrationError(StateError):
    """The database's schema is not one that this version of Podium can bring up to date."""

    reason = "MIGRATION"


__all__ = [
    "FENCED",
    "MISMATCH",
    "DatabaseUnavailableError",
    "FencedError",
    "InvalidSettingError",
    "JournalMismatchError",
    "MigrationError",
    "PostgresInUseError",
    "PostgresNotFoundError",
    "PostgresStartError",
    "PostgresVersionError",
    "UnknownOutcomeError",
]
