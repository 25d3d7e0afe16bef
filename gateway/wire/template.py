"""A conversation in two parts: the template that an app repeats and that names its task, and the rest."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from gateway.core import Message

_TEMPLATE_ROLES = frozenset({"system", "developer"})
_REMEMBERED_CHARS = 16_384
ROLES = _TEMPLATE_ROLES | {"user", "assistant"}
"""Of the messages that a specialist can answer; any other message is the teacher's."""


def template_text(messages: tuple[Message, ...]) -> str:
    """Return the text of the system and developer messages."""
    return "\n".join(message.text for message in messages if message.role in _TEMPLATE_ROLES)


def varying_text(messages: tuple[Message, ...]) -> str:
    """Return the rest: a lone user message as it is, else every message with its role before it."""
    varying = [message for message in messages if message.role not in _TEMPLATE_ROLES]
    if len(varying) == 1 and varying[0].role == "user":
        return varying[0].text
    return "\n".join(f"{message.role}: {message.text}" for message in varying)


def compute_fingerprints(
    model: bytes, shared: str, tools: bytes, response_format: bytes, tool_choice: bytes
) -> tuple[str, str]:
    """Return `template` and `contract_hash` of a core.Request; `shared` is its `template_text`.

    The last three are JSON, empty where the client left them out.
    """
    # An app sends the same template again and again: it is hashed once, unless it is too long to be kept.
    is_short = sum(map(len, (model, shared, tools, response_format, tool_choice))) <= _REMEMBERED_CHARS
    compute = _remember_fingerprints if is_short else _compute_fingerprints
    return compute(model, shared, tools, response_format, tool_choice)


def _compute_fingerprints(
    model: bytes, shared: str, tools: bytes, response_format: bytes, tool_choice: bytes
) -> tuple[str, str]:
    # A model that must call a function answers otherwise than one that may: that is another task.
    forced = () if tool_choice in (b"", b'"auto"') else (tool_choice,)
    contract = (tools, response_format, *forced)
    return _fingerprint(model, shared.encode(), *contract), _fingerprint(model, *contract)


_remember_fingerprints = lru_cache(maxsize=256)(_compute_fingerprints)


def _fingerprint(*fields: bytes) -> str:
    """Return the hex hash of `fields` in their order."""
    digest = blake2b(digest_size=16)
    for field in fields:
        # The length first, so that no two lists of fields run together to the same bytes.
        digest.update(len(field).to_bytes(8))
        digest.update(field)
    return digest.hexdigest()
