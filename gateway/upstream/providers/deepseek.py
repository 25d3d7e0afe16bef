"""DeepSeek: OpenAI's words, but for an account without money.

DeepSeek's documentation, "Error codes", "Rate limit" and "Context caching". While it waits for a machine it
sends blank lines, or comments in a stream: they pass like any other bytes. A `finish_reason` of
`insufficient_system_resource` is no lesson, and cache hits are read under their own name (wire.usage).
"""

from __future__ import annotations

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, NoOptions, Preset

PRESET = Preset(base_url="https://api.deepseek.com/v1", credential="DEEPSEEK_API_KEY")
Config = NoOptions


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _DeepSeek())


class _DeepSeek(Dialect):
    # 402: the balance is used up.
    refused_key = frozenset({401, 402})
