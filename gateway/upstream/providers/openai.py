"""Any teacher that speaks OpenAI's HTTP API below one base URL."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit

from gateway.core import Header
from gateway.errors import ConfigError, UpstreamCredentialError
from gateway.upstream import retry
from gateway.upstream.base import Call, Config, Reply, Teacher
from gateway.upstream.client import HttpClient
from gateway.upstream.headers import HOP_BY_HOP, end_to_end, readable
from gateway.upstream.websocket_headers import UPGRADE, without_credentials

# The observers read the answers given here.
READ_BY_US = frozenset({b"/v1/chat/completions", b"/v1/responses", b"/v1/embeddings"})
OWN_PREFIX = b"x-stepdown-"
# The HTTP client sets `host`; the server in front of us has answered `expect` already.
SET_BY_US = frozenset({b"host", b"expect"})
CREDENTIALS = frozenset(
    {b"authorization", b"api-key", b"x-api-key", b"openai-organization", b"openai-project"}
)


def create(config: Config, client: HttpClient) -> Teacher:
    """Return the teacher at `config.base_url`. Raises ConfigError for a URL it cannot use."""
    return _OpenAITeacher(config, client)


class _OpenAITeacher:
    """A teacher in OpenAI's words; everything constant is made once."""

    def __init__(self, config: Config, client: HttpClient) -> None:
        self._client = client
        self._config = config
        self._origin, self._prefix = _split(config.base_url)
        self._has_own_key = config.api_key is not None
        self._credential = _credential(config)
        self._dropped = HOP_BY_HOP | SET_BY_US | (CREDENTIALS if self._has_own_key else frozenset())
        self._dropped_with_length = self._dropped | {b"content-length"}

    async def ask(self, call: Call) -> Reply:
        """See upstream.base.Teacher. Raises UpstreamCredentialError if our own key is refused."""
        reply = await retry.send_with_retries(
            self._send, self._rewritten(call), self._config, random=random.random, sleep=asyncio.sleep
        )
        if self._has_own_key and reply.status in {401, 403}:
            await reply.body.aclose()
            raise UpstreamCredentialError(f"the teacher refused the gateway's own key ({reply.status})")
        return reply

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def _send(self, call: Call) -> Reply:
        return await self._client.send(self._origin, call)

    def _rewritten(self, call: Call) -> Call:
        """Return `call` as the teacher sees it; accept-encoding is narrowed where we read the answer."""
        dropped = self._dropped_with_length if _is_length_untrue(call) else self._dropped
        headers = [
            header for header in end_to_end(call.headers, dropped) if not header[0].startswith(OWN_PREFIX)
        ]
        if call.target.partition(b"?")[0] in READ_BY_US:
            # No encoding that the observers could not undo.
            headers = [
                (name, readable(value) if name == b"accept-encoding" else value) for name, value in headers
            ]
        if call.may_switch:
            headers = [*(without_credentials(headers) if self._has_own_key else headers), *UPGRADE]
        return Call(
            method=call.method,
            target=self._prefix + call.target.removeprefix(b"/v1"),
            headers=(*headers, *self._credential),
            body=call.body,
            is_repeatable=call.is_repeatable,
            may_switch=call.may_switch,
        )


def _is_length_untrue(call: Call) -> bool:
    """Whether content-length does not describe the body that leaves here."""
    return isinstance(call.body, bytes) or any(name == b"transfer-encoding" for name, _ in call.headers)


def _credential(config: Config) -> tuple[Header, ...]:
    if config.api_key is None:
        return ()
    headers = [(b"authorization", f"Bearer {config.api_key.reveal()}".encode())]
    if config.organization:
        headers.append((b"openai-organization", config.organization.encode()))
    if config.project:
        headers.append((b"openai-project", config.project.encode()))
    return tuple(headers)


def _split(base_url: str) -> tuple[str, bytes]:
    """Return origin and path prefix of `base_url`."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError as exc:
        raise ConfigError(f"upstream base_url {base_url!r} is no URL: {exc}") from exc
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment or "@" in url.netloc:
        raise ConfigError("upstream base_url must be http(s)://host[:port][/path] and nothing more")
    return f"{url.scheme}://{url.netloc}", (url.path.rstrip("/") or "/v1").encode()
