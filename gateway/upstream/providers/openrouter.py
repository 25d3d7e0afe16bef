"""OpenRouter: models of many providers, whose failures may come after the status.

OpenRouter's documentation, "Errors and debugging", "Streaming" and "API key".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, ForeignError, NoOptions, Preset, kind_of, refusal_error

PRESET = Preset(base_url="https://openrouter.ai/api/v1", credential="OPENROUTER_API_KEY")
Config = NoOptions

_UNNAMED_STATUS = 502


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _OpenRouter())


class _OpenRouter(Dialect):
    # 402: the account has no credits left.
    refused_key = frozenset({401, 402})
    request_id = b"x-generation-id"
    has_own_errors = hides_errors = True
    # Anyone may read the list of models.
    key_target = b"/v1/key"

    def read_error(self, status: int, error: object) -> ForeignError | None:
        found = _error_in(error) if isinstance(error, Mapping) else None
        if found is None:
            return None
        message, metadata = str(found.get("message") or "the provider failed"), found.get("metadata")
        # Moderation tells the part of the input that was flagged, and why.
        if status == 403 and isinstance(metadata, Mapping) and "reasons" in metadata:
            return refusal_error(message)
        code = found.get("code")
        return ForeignError(message=message, kind=kind_of(status), code=None if code is None else str(code))

    def hidden_status(self, answer: Mapping[str, Any]) -> int | None:
        """Return the code of an error that came after the head: a provider behind OpenRouter failed."""
        found = _error_in(answer)
        if found is None:
            return None
        code = found.get("code")
        return code if isinstance(code, int) and 400 <= code < 600 else _UNNAMED_STATUS


def _error_in(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the error of an answer, or that of its only choice."""
    found = answer.get("error")
    choices = answer.get("choices")
    if not found and isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], Mapping):
        found = choices[0].get("error")
    return found if isinstance(found, Mapping) else None
