"""A served coordinator per test: `site` while another process owns the shard, `owning` with the shard's owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rpc.site import Site, a_site, an_owning_site
from tests.shard.cluster import Cluster


@pytest.fixture
async def site(database: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(database, tmp_path) as served:
        yield served


@pytest.fixture
async def owning(database: str, tmp_path: Path) -> AsyncIterator[tuple[Site, Cluster]]:
    async with an_owning_site(database, tmp_path) as served:
        yield served
