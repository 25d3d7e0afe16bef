"""Google's Gemini through its endpoint for OpenAI's clients: errors are Google's, in a list.

Google's documentation, "OpenAI compatibility" and "Troubleshooting"; google.rpc.RetryInfo and ErrorInfo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core import Header
from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.base import Transport
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, ForeignError, NoOptions, Preset, kind_of

PRESET = Preset(
    base_url="https://generativelanguage.googleapis.com/v1beta/openai", credential="GEMINI_API_KEY"
)
Config = NoOptions


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Gemini())


class _Gemini(Dialect):
    has_own_errors = True

    def refuses_key(self, status: int, error: object) -> bool:
        details = _details(_error_in(error))
        return status == 400 and any(detail.get("reason") == "API_KEY_INVALID" for detail in details)

    def read_error(self, status: int, error: object) -> ForeignError | None:
        found = _error_in(error)
        if not isinstance(found.get("message"), str):
            return None
        name = found.get("status")
        return ForeignError(
            message=found["message"],
            kind=kind_of(status),
            code=name.lower() if isinstance(name, str) else None,
            headers=tuple(_retry_after(found)),
        )

    def model_name(self, listed: str) -> str:
        return listed.removeprefix("models/")


def _error_in(error: object) -> Mapping[str, Any]:
    first = error[0] if isinstance(error, list) and error else error
    found = first.get("error") if isinstance(first, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail


def _retry_after(error: Mapping[str, Any]) -> Iterator[Header]:
    """Yield the wait that RetryInfo asks for ("34.07s"), as the header that OpenAI's clients obey."""
    for detail in _details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s") and delay[:-1].replace(".", "", 1).isdecimal():
            yield (b"retry-after-ms", b"%d" % (float(delay[:-1]) * 1000))
            return
