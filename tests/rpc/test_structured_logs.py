"""What the log looks like, and that every event is declared."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import podium_coordinator
from podium_coordinator import structured_logs
from podium_coordinator.structured_logs import Event

PACKAGE = Path(podium_coordinator.__file__).parent
LOGGERS = {"log", "_log"}
METHODS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(form: structured_logs.LogFormat, level: structured_logs.LogLevel = "info") -> io.StringIO:
    stream = io.StringIO()
    structured_logs.configure(form, level, stream)
    return stream


def test_json_lines_carry_the_event_its_fields_and_the_bound_ids() -> None:
    stream = logged("json")
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        structlog.stdlib.get_logger("podium.rpc").info(Event.CALL_ENDED, code="OK")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["code"], line["run_id"]) == ("rpc.call_ended", "OK", "r1")
    assert (line["level"], line["logger"]) == ("info", "podium.rpc")
    assert line["timestamp"].endswith("Z")


def test_what_libraries_log_has_the_same_form() -> None:
    stream = logged("json")
    logging.getLogger("apscheduler").warning("job %s", "late")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("job late", "warning", "apscheduler")


def test_an_exception_is_one_json_line() -> None:
    stream = logged("json")
    error = ValueError("why")
    structlog.stdlib.get_logger("podium.rpc").error(Event.CALL_BROKE, exc_info=error)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_value"] == "why"


def test_the_console_form_is_plain_where_there_is_no_terminal() -> None:
    stream = logged("console")
    structlog.stdlib.get_logger("podium.rpc").info(Event.CALL_ENDED, code="OK")
    assert "rpc.call_ended" in stream.getvalue()
    assert "code=OK" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


@pytest.mark.parametrize(("level", "seen"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_leaves_out_what_is_below_it(level: structured_logs.LogLevel, seen: int) -> None:
    stream = logged("json", level)
    log = structlog.stdlib.get_logger("podium.rpc")
    log.debug(Event.CALL_ENDED)
    log.info(Event.CALL_ENDED)
    log.warning(Event.CALL_ENDED)
    assert len(stream.getvalue().splitlines()) == seen


def calls_to_the_log(source: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in METHODS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in LOGGERS
        ):
            yield node.lineno, ast.unparse(node.args[0]) if node.args else ""


def test_every_event_is_declared_and_every_declared_one_is_used() -> None:
    found = [(path.name, line, event) for path in PACKAGE.rglob("*.py") for line, event in calls_to_the_log(path)]
    assert [entry for entry in found if not entry[2].startswith("Event.")] == []
    used = {event.removeprefix("Event.") for *_, event in found}
    assert {event.name for event in Event} - used == set()
