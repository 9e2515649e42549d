"""Where the agent's settings come from."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from podium_agent.settings import AgentSettings


class Sources(AgentSettings, BaseSettings):
    """The settings, filled from flags and the environment."""

    model_config = SettingsConfigDict(env_prefix="PODIUM_AGENT__", extra="forbid", enable_decoding=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def sources(file: Path | None) -> type[Sources]:
    """Return the class that reads the environment, and the table `[agent]` of a TOML file if there is one."""
    if file is None:
        return Sources

    class FromFile(Sources):
        model_config = SettingsConfigDict(toml_file=file, toml_table_header=("agent",))

    return FromFile
