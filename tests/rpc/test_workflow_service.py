"""Registering and reading workflows."""

from __future__ import annotations

import asyncio
import hashlib
import time

import grpc
import pytest

from podium.model.spec import PythonAction, TaskSpec, WorkflowSpec
from podium.v1 import workflow_pb2 as pb
from podium.wire import workflow_to_proto
from tests.rpc.probe import details, refused
from tests.rpc.site import Site, a_task


def a_request(*tasks: TaskSpec, name: str = "flow", **fields: object) -> pb.RegisterWorkflowRequest:
    spec = workflow_to_proto(WorkflowSpec(name, tasks or (a_task("a"),)))
    return pb.RegisterWorkflowRequest(spec=spec, **fields)  # type: ignore[arg-type]


async def test_registering_the_same_twice_makes_one_version(site: Site) -> None:
    first = await site.workflows.RegisterWorkflow(a_request())
    again = await site.workflows.RegisterWorkflow(a_request())
    other = await site.workflows.RegisterWorkflow(a_request(a_task("b")))

    assert (first.workflow.version, first.created) == (1, True)
    assert (again.workflow.version, again.created) == (1, False)
    assert (other.workflow.version, other.created) == (2, True)
    assert again.workflow == first.workflow
    assert not first.workflow.HasField("spec")
    assert first.workflow.task_count == 1


async def test_a_version_is_read_back_as_it_was_given(site: Site) -> None:
    given = a_request(a_task("a"), a_task("b", "a", priority=3))
    await site.workflows.RegisterWorkflow(given)
    await site.workflows.RegisterWorkflow(a_request())

    old = await site.workflows.GetWorkflow(pb.GetWorkflowRequest(name="flow", version=1))
    newest = await site.workflows.GetWorkflow(pb.GetWorkflowRequest(name="flow"))
    assert old.workflow.spec == given.spec
    assert newest.workflow.version == 2


async def test_every_problem_of_a_definition_is_told_with_its_field(site: Site) -> None:
    told = await refused(site.workflows.RegisterWorkflow(a_request(a_task("a", "b"), a_task("b", "a"), a_task("b"))))
    info, bad = details(told)
    assert (told.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_WORKFLOW")
    assert any(violation.field.startswith("tasks[2]") for violation in bad.field_violations)
    assert any("a" in violation.description for violation in bad.field_violations)


async def test_code_needs_its_bundle_stored_first(site: Site) -> None:
    python = TaskSpec("p", PythonAction("module:function"))
    missing = await refused(site.workflows.RegisterWorkflow(a_request(python)))
    assert details(missing)[1].field_violations[0].field == "bundle"

    malformed = await refused(site.workflows.RegisterWorkflow(a_request(python, bundle="ABC")))
    assert details(malformed)[0].reason == "INVALID_WORKFLOW"

    name = hashlib.sha256(b"zip").hexdigest()
    absent = await refused(site.workflows.RegisterWorkflow(a_request(python, bundle=name)))
    assert (absent.code(), details(absent)[0].reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BUNDLE_NOT_FOUND")

    assert await site.put(b"zip") == name
    answer = await site.workflows.RegisterWorkflow(a_request(python, bundle=name))
    assert answer.workflow.bundle == name
    other = await site.put(b"other zip")
    assert (await site.workflows.RegisterWorkflow(a_request(python, bundle=other))).workflow.version == 2


async def test_validating_only_stores_nothing(site: Site) -> None:
    answer = await site.workflows.RegisterWorkflow(a_request(validate_only=True))
    assert (answer.workflow.version, answer.created, answer.workflow.task_count) == (0, False, 1)
    told = await refused(site.workflows.GetWorkflow(pb.GetWorkflowRequest(name="flow")))
    assert details(told)[0].reason == "WORKFLOW_NOT_FOUND"


@pytest.mark.parametrize(("name", "version"), [("none", 0), ("flow", 9), ("flow", -1), ("", 0), ("a\0b", 0)])
async def test_what_is_not_there_is_not_found(site: Site, name: str, version: int) -> None:
    await site.register()
    told = await refused(site.workflows.GetWorkflow(pb.GetWorkflowRequest(name=name, version=version)))
    assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.NOT_FOUND, "WORKFLOW_NOT_FOUND")


async def test_workflows_come_in_pages_by_name(site: Site) -> None:
    for name in ("c", "a", "e", "b", "d"):
        await site.register(name=name)
    await site.register(a_task("z"), name="a")
    names, token = [], ""
    for _ in range(3):
        page = await site.workflows.ListWorkflows(pb.ListWorkflowsRequest(page_size=2, page_token=token))
        names += [(workflow.name, workflow.version) for workflow in page.workflows]
        token = page.next_page_token
    assert names == [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]
    assert token == ""


async def test_versions_come_in_pages_newest_first(site: Site) -> None:
    for key in "abc":
        await site.register(a_task(key))
    request = pb.ListWorkflowVersionsRequest(name="flow", page_size=2)
    first = await site.workflows.ListWorkflowVersions(request)
    request.page_token = first.next_page_token
    second = await site.workflows.ListWorkflowVersions(request)
    assert [w.version for w in first.workflows] == [3, 2]
    assert [w.version for w in second.workflows] == [1]
    assert second.next_page_token == ""


async def test_a_token_is_good_for_its_own_request_only(site: Site) -> None:
    for name in ("one", "two"):
        await site.register(a_task("a"), name=name)
        await site.register(a_task("b"), name=name)
    page = await site.workflows.ListWorkflowVersions(pb.ListWorkflowVersionsRequest(name="one", page_size=1))
    for request in (
        pb.ListWorkflowVersionsRequest(name="two", page_token=page.next_page_token),
        pb.ListWorkflowVersionsRequest(name="one", page_token="made up"),
        pb.ListWorkflowVersionsRequest(name="one", page_token="x" * 5000),
        pb.ListWorkflowVersionsRequest(name="one", page_size=1001),
        pb.ListWorkflowVersionsRequest(name="one", page_size=-1),
    ):
        told = await refused(site.workflows.ListWorkflowVersions(request))
        assert (told.code(), details(told)[0].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE")


async def test_a_hundred_thousand_tasks_do_not_hold_up_other_calls(site: Site) -> None:
    await site.register(name="small")
    spec = WorkflowSpec("big", tuple(a_task(f"t{n}", *([f"t{n - 1}"] if n % 10 else [])) for n in range(100_000)))
    request = pb.RegisterWorkflowRequest(spec=workflow_to_proto(spec))
    registering = asyncio.ensure_future(site.workflows.RegisterWorkflow(request))
    slowest = 0.0
    while not registering.done():
        began = time.monotonic()
        await site.workflows.GetWorkflow(pb.GetWorkflowRequest(name="small"))
        slowest = max(slowest, time.monotonic() - began)
    answer = await registering
    assert answer.workflow.task_count == 100_000
    assert slowest < 2.0
    run = await site.create("big")
    assert run.task_count == 100_000
