"""Deploys a project: finds its workflows, packs and uploads its code, registers each workflow."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from podium.bundle import pack
from podium.definition import Workflow
from podium.discovery import Discovery, Found, discover, project_of_module
from podium.resources import WorkflowVersion

if TYPE_CHECKING:
    from podium.aio import AsyncClient


async def deploy(client: AsyncClient, target: str | Path | Workflow[...], *, check_only: bool) -> list[WorkflowVersion]:
    """Register the workflows of a project. See `AsyncClient.deploy`."""
    found = await asyncio.to_thread(_find, target)
    bundle = ""
    if any(item.needs_bundle for item in found.workflows):
        with ExitStack() as stack:
            packed = await asyncio.to_thread(stack.enter_context, pack(found.project.folder, found.project.prefix))
            bundle = packed.sha256
            if not check_only:
                await client.blobs.put(packed.path)
    specs = [(item.spec, bundle if item.needs_bundle else "") for item in found.workflows]
    if check_only or len(specs) > 1:
        checked = [await client.register(spec, name, check_only=True) for spec, name in specs]
    return checked if check_only else [await client.register(spec, name) for spec, name in specs]


def _find(target: str | Path | Workflow[...]) -> Discovery:
    if not isinstance(target, Workflow):
        return discover(Path(target))
    file = Path(target.site.file).resolve()
    return Discovery(project_of_module(file, target.__module__), (Found(target.spec(), file),))
