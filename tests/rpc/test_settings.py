"""Where settings come from, and that each can be set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from podium.errors import InvalidSettingError
from podium_coordinator.settings import ENV_PREFIX, CoordinatorSettings, reference

PAGE = Path(__file__).parents[2] / "docs" / "settings-coordinator.md"

FLIPS: dict[str, tuple[str, Any]] = {
    "listen": ("127.0.0.1:1, unix:/run/podium.sock", ["127.0.0.1:1", "unix:/run/podium.sock"]),
    "insecure_listen": ("true", True),
    "data_dir": ("/srv/podium", Path("/srv/podium")),
    "postgres_bin": ("/opt/pg/bin", Path("/opt/pg/bin")),
    "read_pool_size": ("9", 9),
    "write_pool_size": ("5", 5),
    "lease": ("4.5", 4.5),
    "heartbeat_interval": ("0.5", 0.5),
    "disconnected_after": ("12", 12.0),
    "lost_after": ("40", 40.0),
    "blob_store": ("s3://bucket/podium", "s3://bucket/podium"),
    "max_blob_bytes": ("3MiB", 3 << 20),
    "blob_grace": ("7200", 7200.0),
    "blob_collection_interval": ("60", 60.0),
    "max_outputs_bytes": ("1048576", 1 << 20),
    "max_log_bytes": ("128KiB", 128 << 10),
    "max_message_bytes": ("8MiB", 8 << 20),
    "call_timeout": ("5", 5.0),
    "drain_timeout": ("1", 1.0),
    "traced_task_runs": ("20", 20),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_every_setting_is_flipped_here_or_below() -> None:
    assert set(FLIPS) | {"config", "database_url"} == set(CoordinatorSettings.model_fields)


@pytest.mark.parametrize("name", FLIPS)
def test_a_setting_follows_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = FLIPS[name]
    assert getattr(CoordinatorSettings.load(), name) != value
    monkeypatch.setenv(ENV_PREFIX + name.upper(), text)
    assert getattr(CoordinatorSettings.load(), name) == value


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "podium.toml"
    file.write_text('[coordinator]\nlease = 1\ncall_timeout = 1\nlog_level = "debug"\nlisten = ["127.0.0.1:0"]\n')
    monkeypatch.setenv("PODIUM_COORDINATOR__LEASE", "2")
    monkeypatch.setenv("PODIUM_COORDINATOR__CALL_TIMEOUT", "2")
    settings = CoordinatorSettings.load({"config": file, "lease": 3, "log_level": None})
    assert (settings.lease, settings.call_timeout, settings.log_level) == (3, 2, "debug")
    assert (settings.listen, settings.drain_timeout) == (["127.0.0.1:0"], 20)


def test_the_file_in_the_users_folder_is_found(tmp_path: Path) -> None:
    file = tmp_path / "config" / "podium" / "podium.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[coordinator]\nlease = 7\n[agent]\nname = 'left alone'\n")
    assert CoordinatorSettings.load().lease == 7


def test_the_database_url_comes_from_a_secret_file_and_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://u:hunter2@h/db\n")
    monkeypatch.setenv("PODIUM_COORDINATOR__DATABASE_URL_FILE", str(secret))
    settings = CoordinatorSettings.load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:hunter2@h/db"
    assert "hunter2" not in repr(settings)


def test_a_secret_file_may_be_named_in_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("postgresql://h/db")
    (tmp_path / "podium.toml").write_text(f"[coordinator]\ndatabase_url_file = '{tmp_path}/secret'\n")
    settings = CoordinatorSettings.load({"config": tmp_path / "podium.toml"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://h/db"


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_COORDINATOR__LEESE", "2")
    with pytest.raises(InvalidSettingError, match="did you mean PODIUM_COORDINATOR__LEASE"):
        CoordinatorSettings.load()


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        ({"lease": "soon"}, "lease"),
        ({"lease": -1}, "lease"),
        ({"listen": ""}, "listen"),
        ({"blob_grace": 10}, "blob_grace"),
        ({"log_level": "loud"}, "log_level"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"heartbeat_interval": 9}, "coordinator"),
        ({"lost_after": 10}, "coordinator"),
    ],
)
def test_a_bad_value_is_told_with_the_name_of_its_setting(flags: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSettingError) as raised:
        CoordinatorSettings.load(flags)
    assert [violation.field for violation in raised.value.violations] == [field]


@pytest.mark.parametrize("text", ["not toml", "coordinator = 3", "[coordinator]\nleese = 1"])
def test_a_bad_file_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "podium.toml").write_text(text)
    with pytest.raises(InvalidSettingError):
        CoordinatorSettings.load({"config": tmp_path / "podium.toml"})


def test_a_file_that_was_asked_for_and_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingError, match="cannot be read"):
        CoordinatorSettings.load({"config": tmp_path / "nowhere.toml"})


def test_the_data_folder_is_roots_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert CoordinatorSettings.load().data_dir == Path("/var/lib/podium")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CoordinatorSettings.load().data_dir == tmp_path / ".local/share/podium"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert CoordinatorSettings.load().data_dir == tmp_path / "xdg/podium"


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text() == reference()
