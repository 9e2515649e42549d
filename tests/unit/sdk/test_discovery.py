from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from podium.discovery import discover, project_of, project_of_module
from podium.errors import DefinitionError, DiscoveryError, InvalidWorkflowError
from podium.model.spec import PythonAction

FLOW = """\
from podium import task, workflow

@task
def step(day: str) -> str:
    return day

@workflow
def daily(day: str = "monday"):
    step(day)
"""
YAML_FLOW = "workflow: nightly\ntasks:\n  go:\n    python: steps.go:go\n    args: [1]\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def found(target: Path) -> dict[str, str]:
    return {item.spec.name: item.file.name for item in discover(target).workflows}


def refused(target: Path) -> str:
    with pytest.raises(DiscoveryError) as caught:
        discover(target)
    return str(caught.value)


def test_python_yaml_and_json_of_a_folder_are_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "flow.py": FLOW,
            "sub/other.py": FLOW.replace("daily", "weekly"),
            "nightly.yaml": YAML_FLOW,
            "j.json": '{"workflow": "jay", "tasks": {"a": {"script": "true"}}}',
            "steps/go.py": "def go(n): return n\n",
        },
    )
    assert found(tmp_path) == {
        "daily": "flow.py",
        "jay": "j.json",
        "nightly": "nightly.yaml",
        "weekly": "other.py",
    }
    actions = [task.action for item in discover(tmp_path).workflows for task in item.spec.tasks]
    functions = [action.function for action in actions if isinstance(action, PythonAction)]
    assert functions == ["flow:step", "steps.go:go", "sub.other:step"]


def test_only_what_speaks_of_workflows_is_imported(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "flow.py": FLOW,
            "script.py": "raise SystemExit('imported')",
            "test_flow.py": "raise SystemExit('a test of the podium workflow')",
            "conftest.py": "raise SystemExit('podium workflow')",
            "compose.yaml": "services: {}",
            ".gitignore": "private/\n",
            "private/x.py": "raise SystemExit('podium workflow')",
        },
    )
    assert found(tmp_path) == {"daily": "flow.py"}


def test_a_file_is_looked_at_alone(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": FLOW, "other.py": FLOW.replace("daily", "weekly")})
    assert found(tmp_path / "other.py") == {"weekly": "other.py"}


def test_a_workflow_imported_from_elsewhere_counts_once(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": FLOW, "main.py": "from flow import daily  # the podium workflow\n"})
    assert found(tmp_path) == {"daily": "flow.py"}
    assert refused(tmp_path / "main.py").startswith("There is no workflow in ")


def test_a_package_is_imported_and_packed_under_its_name(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"pipes/__init__.py": "", "pipes/sub/__init__.py": "", "pipes/sub/flow.py": "from pipes import sub\n" + FLOW},
    )
    for target in (root / "pipes", root / "pipes" / "sub", root / "pipes" / "sub" / "flow.py"):
        [item] = discover(target).workflows
        assert item.spec.tasks[0].action.function == "pipes.sub.flow:step"  # type: ignore[union-attr]
        project = discover(target).project
        assert (project.folder, project.prefix, project.root) == (root / "pipes", "pipes", root)


def test_code_is_read_anew_each_time_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": FLOW})
    before = (set(sys.modules), list(sys.path))
    assert list(found(tmp_path)) == ["daily"]
    write(tmp_path, {"flow.py": FLOW.replace("daily", "edited")})
    assert list(found(tmp_path)) == ["edited"]
    assert "flow" not in set(sys.modules) - before[0]
    assert sys.path == before[1]
    assert not (tmp_path / "__pycache__").exists()


def test_a_module_that_is_loaded_already_stays_the_one_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"flow_at_work.py": FLOW})
    monkeypatch.syspath_prepend(tmp_path)
    import flow_at_work  # type: ignore[import-not-found]

    assert found(tmp_path) == {"daily": "flow_at_work.py"}
    assert sys.modules["flow_at_work"] is flow_at_work
    del sys.modules["flow_at_work"]


def test_two_projects_may_have_modules_of_one_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"flow.py": FLOW})
    two = write(tmp_path / "two", {"flow.py": FLOW.replace("daily", "weekly")})
    assert (list(found(one)), list(found(two))) == (["daily"], ["weekly"])


def test_what_a_module_raises_is_shown_as_the_user_s_own(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": FLOW + "\n\ndef broken():\n    return 1 / 0\n\nbroken()\n"})
    told = refused(tmp_path)
    assert told.startswith(f"{tmp_path}/flow.py cannot be imported:\nTraceback (most recent call last):\n")
    assert f'File "{tmp_path}/flow.py", line 15, in <module>' in told.splitlines()[2]
    assert told.endswith("ZeroDivisionError: division by zero")
    assert "discovery.py" not in told


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("import podium\nworkflow = (", "SyntaxError: '(' was never closed"),
        ("import podium, nowhere  # workflow", "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit('podium workflow')", "SystemExit: podium workflow"),
    ],
)
def test_code_that_cannot_be_imported_is_told(tmp_path: Path, text: str, end: str) -> None:
    assert refused(write(tmp_path, {"flow.py": text})).endswith(end)


def test_an_unsound_workflow_is_told_with_its_place(tmp_path: Path) -> None:
    write(tmp_path, {"flow.py": FLOW.replace("step(day)", "step.options(priority=5000)(day)")})
    with pytest.raises(InvalidWorkflowError, match=re.escape(f"({tmp_path}/flow.py:9)")):
        discover(tmp_path)
    write(tmp_path, {"flow.py": FLOW.replace("step(day)", "step(days=day)")})
    with pytest.raises(DefinitionError, match=re.escape(f"{tmp_path}/flow.py:9: step(): missing a required argument")):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ({}, "There is no module 'steps.go' in the project."),
        ({"steps/go.py": ""}, "The module 'steps.go' has no 'go'."),
        ({"steps/go.py": "go = 5"}, "'steps.go:go' is no function."),
        ({"steps/go.py": "def go(): ..."}, "steps.go:go(): too many positional arguments."),
    ],
)
def test_a_yaml_workflow_that_calls_what_is_not_there_is_told_with_its_line(
    tmp_path: Path, steps: dict[str, str], told: str
) -> None:
    write(tmp_path, {"nightly.yaml": YAML_FLOW, **steps})
    with pytest.raises(InvalidWorkflowError) as caught:
        discover(tmp_path)
    [violation] = caught.value.violations
    assert violation.shown() == f"3: tasks.go.python: {told}"


def test_a_yaml_workflow_may_call_a_decorated_function(tmp_path: Path) -> None:
    write(tmp_path, {"nightly.yaml": YAML_FLOW.replace("steps.go:go", "flow:step"), "flow.py": FLOW})
    assert found(tmp_path) == {"daily": "flow.py", "nightly": "nightly.yaml"}


def test_code_behind_a_yaml_workflow_that_fails_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"nightly.yaml": YAML_FLOW, "steps/go.py": "1 / 0"})
    assert "ZeroDivisionError" in refused(tmp_path / "nightly.yaml")


def test_only_workflows_that_run_code_of_the_project_need_it(tmp_path: Path) -> None:
    texts = {
        "a.yaml": "workflow: a\ntasks: {x: {script: 'true'}}",
        "b.yaml": "workflow: b\ntasks: {x: {script: 'true', cwd: scripts}}",
        "c.py": FLOW,
    }
    write(tmp_path, texts)
    assert [item.needs_bundle for item in discover(tmp_path).workflows] == [False, True, True]


@pytest.mark.parametrize(
    ("files", "target", "told"),
    [
        ({}, "nowhere", "There is no file or folder {root}/nowhere."),
        (
            {"a.py": "x = 1"},
            "",
            (
                "There is no workflow in {root}: no function decorated with @workflow, and no YAML or JSON file "
                "with the keys workflow and tasks."
            ),
        ),
        ({"a.txt": ""}, "a.txt", "{root}/a.txt is no Python, YAML or JSON file."),
        (
            {"my-flow.py": FLOW},
            "",
            "{root}/my-flow.py cannot be imported as 'my-flow': rename it to a Python identifier.",
        ),
        (
            {"a.py": FLOW, "b.py": FLOW},
            "",
            "Two workflows have the name 'daily', in {root}/a.py and in {root}/b.py. Give one of them another name.",
        ),
    ],
)
def test_where_no_workflow_can_be_found_it_is_said_why(
    tmp_path: Path, files: dict[str, str], target: str, told: str
) -> None:
    write(tmp_path, files)
    assert refused(tmp_path / target) == told.format(root=tmp_path)


def test_a_file_named_like_another_module_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"json.py": FLOW})
    assert re.fullmatch(
        rf"{tmp_path}/json\.py cannot be imported: there is another module 'json', in .*json/__init__\.py\. "
        r"Rename the file\.",
        refused(tmp_path),
    )


def test_the_project_of_a_loaded_module_starts_where_its_name_starts(tmp_path: Path) -> None:
    file = write(tmp_path, {"top/sub/flow.py": FLOW}) / "top" / "sub" / "flow.py"
    nested = project_of_module(file, "sub.flow")
    assert (nested.root, nested.folder, nested.prefix) == (tmp_path / "top", tmp_path / "top" / "sub", "sub")
    plain = project_of_module(file, "flow")
    assert (plain.root, plain.folder, plain.prefix) == (file.parent, file.parent, "")
    assert project_of_module(file, "__main__") == project_of(file)
