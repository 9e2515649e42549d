from __future__ import annotations

from pathlib import Path

import pytest

from podium.errors import InvalidSettingError
from podium_agent.settings import AgentSettings, load_settings


def test_flags_win_over_the_environment_the_file_and_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "podium.toml"
    file.write_text('[agent]\nname = "file"\ngrace = 1\ncpu = 3\nlabels = {disk = "ssd"}\n[coordinator]\nx = 1\n')
    monkeypatch.setenv("PODIUM_AGENT__NAME", "environment")
    monkeypatch.setenv("PODIUM_AGENT__GRACE", "2")
    monkeypatch.setenv("PODIUM_AGENT__MEMORY", "2GiB")
    monkeypatch.setenv("PODIUM_AGENT__COORDINATORS", "one:1,two:2")
    found = load_settings({"name": "flag", "cpu": None}, file)
    assert (found.name, found.grace, found.cpu, found.labels) == ("flag", 2.0, 3.0, {"disk": "ssd"})
    assert (found.memory, found.coordinators) == (2 << 30, ["one:1", "two:2"])


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        ({"coordinators": "nowhere"}, "coordinators"),
        ({"coordinators": "host:99999"}, "coordinators"),
        ({"cpu": "0"}, "cpu"),
        ({"memory": "much"}, "memory"),
        ({"labels": "no value"}, "labels"),
        ({"grace": "-1"}, "grace"),
        ({"absent": "1"}, "absent"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(flags: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidSettingError) as refused:
        load_settings(flags)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_settings_travel_to_the_agents_own_processes(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": str(tmp_path), "memory": "1GiB", "labels": "a=b"})
    plain = settings.for_spawner(tmp_path)
    assert AgentSettings.model_validate(plain["settings"]) == settings
    assert plain["worker"]["inline_output"] == 262_144
