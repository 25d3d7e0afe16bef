"""An Ollama server of one's own, or its cloud.

Ollama's documentation, "OpenAI compatibility". A full queue is a 503 whose error is a string
(ollama/ollama#15934).
"""

from __future__ import annotations

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, ForeignError, NoOptions, Preset, read_bare_error

PRESET = Preset(base_url="http://127.0.0.1:11434/v1", credential="none")
Config = NoOptions


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Ollama())


class _Ollama(Dialect):
    has_own_errors = True

    def read_error(self, status: int, error: object) -> ForeignError | None:
        return read_bare_error(status, error)

    def model_name(self, listed: str) -> str:
        return listed.removesuffix(":latest")
