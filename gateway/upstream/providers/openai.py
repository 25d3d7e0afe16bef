"""OpenAI, and any server that speaks its HTTP API in its words: the default."""

from __future__ import annotations

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import NoOptions, Preset

PRESET = Preset(base_url="https://api.openai.com/v1")
Config = NoOptions


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance)
