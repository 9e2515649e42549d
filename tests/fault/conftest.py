from tests.cluster.fixtures import chance, witness
from tests.cluster.reporting import pytest_runtest_makereport

__all__ = ["chance", "pytest_runtest_makereport", "witness"]
