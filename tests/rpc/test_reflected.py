from __future__ import annotations

import pytest

from podium.v1 import run_pb2
from podium_coordinator.rpc.reflected import ReflectedPool


@pytest.mark.parametrize("symbol", ["podium.v1.RunService", "podium.v1.RunService.WatchRun", "podium.v1.Run.run_id"])
def test_services_methods_and_fields_lead_to_their_file(symbol: str) -> None:
    assert ReflectedPool().FindFileContainingSymbol(symbol).name == run_pb2.DESCRIPTOR.name


@pytest.mark.parametrize("symbol", ["podium.v1.RunService.Nothing", "podium.v1.Nothing.WatchRun", "nothing", ""])
def test_what_does_not_exist_is_not_found(symbol: str) -> None:
    with pytest.raises(KeyError):
        ReflectedPool().FindFileContainingSymbol(symbol)
