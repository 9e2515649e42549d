from tests.cluster.fixtures import cluster, shared_cluster, witness
from tests.cluster.reporting import pytest_runtest_makereport

__all__ = ["cluster", "pytest_runtest_makereport", "shared_cluster", "witness"]
