from tests.cluster.fixtures import cluster, witness
from tests.cluster.reporting import pytest_runtest_makereport

__all__ = ["cluster", "pytest_runtest_makereport", "witness"]
