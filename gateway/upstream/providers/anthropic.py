"""Anthropic through its endpoint for OpenAI's clients; the list of models is its own API's.

Anthropic's documentation, "OpenAI SDK compatibility", "Errors", "List models".
"""

from __future__ import annotations

import msgspec

from gateway.core import Header
from gateway.upstream.base import Call, Transport
from gateway.upstream.base import Config as TeacherConfig
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.dialect import Dialect, Preset

PRESET = Preset(base_url="https://api.anthropic.com/v1", credential="ANTHROPIC_API_KEY")

_MODELS = b"/v1/models"
# Its pages have twenty models unless more are asked for, and OpenAI's clients know no pages.
_ALL = b"limit=1000"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What its own API wants in headers."""

    version: str = "2023-06-01"
    workspace: str | None = None
    """The id of the workspace, for a key that has access to more than one."""


def create(
    config: TeacherConfig, client: Transport, instance: str = "", options: Config | None = None
) -> CompatibleTeacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return CompatibleTeacher(config, client, instance, _Anthropic(options or Config()))


class _Anthropic(Dialect):
    request_id = b"request-id"

    def __init__(self, options: Config) -> None:
        workspace = options.workspace
        self._workspace = ((b"anthropic-workspace-id", workspace.encode()),) if workspace else ()
        self._version = (b"anthropic-version", options.version.encode())

    def credential(self, key: bytes) -> tuple[Header, ...]:
        return (*super().credential(key), *self._workspace)

    def models_credential(self, key: bytes) -> tuple[Header, ...]:
        return ((b"x-api-key", key), self._version, *self._workspace)

    def target(self, prefix: bytes, call: Call) -> bytes:
        target = super().target(prefix, call)
        return target + b"?" + _ALL if call.target == _MODELS else target
