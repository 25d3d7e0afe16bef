"""A vLLM server of one's own.

vLLM's documentation, "OpenAI-compatible server". Errors of older versions have no `error` around them.
"""

from __future__ import annotations

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, ForeignError, NoOptions, Preset, read_bare_error

PRESET = Preset(base_url="http://127.0.0.1:8000/v1", credential="none")
Config = NoOptions


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Vllm())


class _Vllm(Dialect):
    has_own_errors = True

    def read_error(self, status: int, error: object) -> ForeignError | None:
        # {"object": "error", "message", "type", "code"}, or FastAPI's {"detail"}.
        return read_bare_error(status, error)
