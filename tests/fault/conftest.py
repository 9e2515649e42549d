"""What all fault tests share. The list of faults, and which test is whose, is in `docs/faults.md`."""

from __future__ import annotations

import pytest

from tests.cluster.fixtures import chance, witness
from tests.cluster.reporting import pytest_runtest_makereport
from tests.fault.recording import Table, figures


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark of tests that `make test` leaves out, and report what is measured."""
    config.addinivalue_line("markers", "long: takes minutes; `make test` leaves it out, `make fault` does not")
    config.pluginmanager.register(Table(), "fault-table")


__all__ = ["chance", "figures", "pytest_configure", "pytest_runtest_makereport", "witness"]
