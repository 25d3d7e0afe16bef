"""xAI: errors are two strings, of which the second may name the gateway's account.

xAI's documentation, "Debugging errors". A wrong key is a 400 (i-am-bee/beeai-framework#447), and a failed
safety check a 403 (UKGovernmentBEIS/inspect_ai#2267). Reasoning is counted outside `completion_tokens`
(wire.usage).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import (
    Dialect,
    ForeignError,
    NoOptions,
    Preset,
    is_openai_error,
    kind_of,
    refusal_error,
)

PRESET = Preset(base_url="https://api.x.ai/v1", credential="XAI_API_KEY")
Config = NoOptions

_WRONG_KEY = "incorrect api key"
_UNSAFE = ("usage guidelines", "safety_check")
_ACCOUNT = re.compile(r"(Team|API key ID): [^,]*(, )?", re.IGNORECASE)


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Xai())


class _Xai(Dialect):
    has_own_errors = True

    def refuses_key(self, status: int, error: object) -> bool:
        return status == 400 and _WRONG_KEY in _text(error).replace("%20", " ").lower()

    def read_error(self, status: int, error: object) -> ForeignError | None:
        message = _ACCOUNT.sub("", _text(error))
        if not message or is_openai_error(error):
            return None
        if status == 403 and any(word in message.lower() for word in _UNSAFE):
            return refusal_error(message)
        return ForeignError(message=message, kind=kind_of(status))


def _text(error: object) -> str:
    found = error.get("error") if isinstance(error, Mapping) else None
    return found if isinstance(found, str) else ""
