"""Makes any project keep the ledger: a copy of it whose tasks note each execution before and after their own work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_LEDGER = Path(__file__).parent / "project" / "ledgered" / "ledger.py"
_TASK = re.compile(r"^(@task(?:\(.*\))?)$", re.MULTILINE)
_FIRST_IMPORT = re.compile(r"^from ", re.MULTILINE)


def ledgered_copy(project: Path, into: Path, module: str = "pipeline.py") -> Path:
    """Copy a project whose tasks are all in one module; return the copy's folder."""
    copy = Path(shutil.copytree(project, into / project.name, ignore=shutil.ignore_patterns("__pycache__")))
    shutil.copy(_LEDGER, copy / "ledger.py")
    source = (copy / module).read_text("utf-8")
    source, tasks = _TASK.subn(r"\1\n@ledgered", source)
    assert tasks, f"{module} of {project} has no tasks"
    (copy / module).write_text(_FIRST_IMPORT.sub("from ledger import ledgered\nfrom ", source, count=1), "utf-8")
    return copy
