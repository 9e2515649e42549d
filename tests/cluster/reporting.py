"""Shows what the servers said when a test fails. Both names are for conftest modules to import."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the servers' words to the report of a test that failed."""
    report = yield
    if report.failed and not report.skipped:
        for cluster in Cluster.living:
            report.sections += [(f"{name} of {cluster.folder}", words) for name, words in cluster.words()]
    return report


__all__ = ["pytest_runtest_makereport"]
