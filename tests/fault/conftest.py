from tests.cluster.fixtures import chance, cluster, witness
from tests.cluster.reporting import pytest_runtest_makereport

__all__ = ["chance", "cluster", "pytest_runtest_makereport", "witness"]
