"""A llama.cpp server of one's own: 503 while it loads its model, which is a failure like any other.

llama.cpp's server README. Its port by default is ours, too: one of the two must move.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import INVALID_REQUEST, Dialect, ForeignError, NoOptions, Preset

PRESET = Preset(base_url="http://127.0.0.1:8080/v1", credential="none")
Config = NoOptions

_TOO_LONG = "exceed_context_size_error"


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _LlamaCpp())


class _LlamaCpp(Dialect):
    has_own_errors = True

    def read_error(self, status: int, error: object) -> ForeignError | None:
        """Name a prompt that is too long as OpenAI does: clients shorten it then."""
        found = error.get("error") if isinstance(error, Mapping) else None
        if not isinstance(found, Mapping) or found.get("type") != _TOO_LONG:
            return None
        message = str(found.get("message") or "the prompt is too long")
        return ForeignError(message=message, kind=INVALID_REQUEST, code="context_length_exceeded", status=400)
