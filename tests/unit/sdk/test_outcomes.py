from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from podium import Fail, Retry, Skip
from podium.model.quantities import memory_bytes, seconds
from podium.model.states import FailureKind
from podium.outcomes import cut, describe


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_failure_tells_what_was_raised_and_where() -> None:
    failure = describe(raised(ValueError("no")))
    assert (failure.kind, failure.message, failure.exception_type) == (
        FailureKind.USER_ERROR,
        "ValueError: no",
        "builtins.ValueError",
    )
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert failure.traceback.endswith("ValueError: no\n")


def test_an_exception_that_cannot_speak_is_still_told() -> None:
    failure = describe(raised(MuteError()))
    assert failure.message == f"{__name__}.MuteError: (it cannot be shown: RuntimeError)"
    assert "MuteError" in failure.traceback


def test_an_exception_without_words_is_told_by_its_name() -> None:
    assert describe(raised(KeyError())).message == "KeyError"


def test_long_text_is_cut_in_its_middle_to_whole_characters() -> None:
    text = cut("ä" * 3000, 1000)
    assert len(text.encode()) <= 1000
    assert text.startswith("ää")
    assert text.endswith("ää")
    assert "\n... about 5,000 bytes left out ...\n" in text
    assert cut("short", 1000) == "short"
    assert cut("\ud800", 10) == "\\ud800"


@pytest.mark.parametrize("outcome", [Skip("x"), Fail("x")])
def test_outcomes_travel_between_processes(outcome: Exception) -> None:
    assert repr(pickle.loads(pickle.dumps(outcome))) == repr(outcome)  # noqa: S301 - made here


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5.0), (0.25, 0.25), (0, 0.0), ("30s", 30.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5d", 129600.0)],
)
def test_lengths_of_time_are_read(value: float | str, expected: float) -> None:
    assert seconds(value) == expected
    assert seconds(timedelta(seconds=expected)) == expected


@pytest.mark.parametrize("value", ["", "5", "5 s", "1m30", "s", -1, float("nan"), float("inf"), True, None, "5S"])
def test_what_is_no_length_of_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no length of time"):
        seconds(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (0, 0), ("5B", 5), ("1KiB", 1024), ("1KB", 1000), ("1.5GiB", 3 * 2**29), ("2 TB", 2 * 10**12)],
)
def test_amounts_of_memory_are_read(value: int | str, expected: int) -> None:
    assert memory_bytes(value) == expected


@pytest.mark.parametrize("value", ["", "5", "5M", "5mb", "MiB", -1, 1.5, True, None])
def test_what_is_no_amount_of_memory_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no amount of memory"):
        memory_bytes(value)  # type: ignore[arg-type]


def test_a_retry_says_when() -> None:
    retry = Retry("busy", after="5m")
    assert (str(retry), retry.after) == ("busy", 300.0)
    assert str(Retry(after=1)) == "The task asked to be tried again."
    with pytest.raises(ValueError, match="is no length of time"):
        Retry(after="soon")
