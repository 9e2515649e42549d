"""Values of the client as JSON, for `-o json`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.resources import RunInfo, WorkflowVersion


def plain(value: Any) -> Any:
    """Return records as objects with their fields' names, times in RFC 3339 with microseconds, None as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def run(value: RunInfo) -> dict[str, Any]:
    """Return what is known of a run, whatever handle it comes in."""
    from podium.resources import RunInfo

    return {field.name: plain(getattr(value, field.name)) for field in fields(RunInfo)}


def workflow(value: WorkflowVersion) -> dict[str, Any]:
    """Return a workflow's version; its definition as the API writes it in JSON, with the protos' field names."""
    told: dict[str, Any] = {
        field.name: plain(getattr(value, field.name)) for field in fields(value) if field.name != "spec"
    }
    if value.spec is not None:
        from google.protobuf.json_format import MessageToDict

        from podium.wire import workflow_to_proto

        told["spec"] = MessageToDict(workflow_to_proto(value.spec), preserving_proto_field_name=True)
    return told
