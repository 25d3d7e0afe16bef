"""The bounds of what a stranger may do to a worker, before it is known who asks."""

from __future__ import annotations

import resource
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.config.bounds import NonNegativeFloat, PositiveFloat, PositiveInt

# For health checks beside a full house; the admin plane has connections of its own.
RESERVED_CONNECTIONS = 32
ADMIN_CONNECTIONS = 64
# Listeners, databases, logs, the model host, and room for the files of a moment.
OTHER_DESCRIPTORS = 64
FEWEST_CONNECTIONS = 8


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one connection, and all of a worker, may take."""

    head_bytes: Annotated[int, Meta(ge=8192)] = 64 << 10
    """Of a request's line and headers; 431 above. AWS' load balancers allow 64 KB, Envoy 60, nginx 32."""
    headers: PositiveInt = 100
    """Of one request; 431 above. As Apache (LimitRequestFields) and Envoy (max_headers_count)."""
    url_bytes: Annotated[int, Meta(ge=1024)] = 16 << 10
    """Of a request's target; 414 above. RFC 9112 section 3 asks for at least 8,000; AWS allows 16 KB."""
    head_timeout_s: PositiveFloat = 10.0
    """From the first byte of a head to its last; 408 after it. As nginx' advice against slow heads."""
    keep_alive_s: PositiveFloat = 75.0
    """Silence before a request. Above the 60 s of the usual load balancers (AWS, nginx) and the pools of
    clients, so that the other side closes, never we while a request is on its way."""
    connections: PositiveInt | None = None
    """Of one worker, websockets among them. Above it the one that waits longest makes room; if all are
    busy, 503. Unset: half of the process' descriptors, because a request may need one to the teacher."""
    all_heads_mb: PositiveInt = 8
    """Of all unfinished heads, and requests behind one in work, together; 503 above. A head is below
    1 KB and arrives whole."""
    requests: PositiveInt = 4096
    """In work at once; 503 above. Streams wait for a teacher most of the time, so this bounds memory (25 KB
    a stream); what the CPU cannot do is noticed by itself, and refused earlier."""
    bodies_mb: PositiveInt = 256
    """For the bodies of all requests in work, three times their size; a body waits a second for room, then
    503. One of 50 MB takes 150: the largest that OpenAI takes passes alone."""
    stalled_s: NonNegativeFloat = 10.0
    """How long a client may leave its full socket unread, as a slow body may begin; then
    `min_bytes_per_s` is expected."""
    min_bytes_per_s: PositiveFloat = 1024.0
    """Of a client whose socket is full; 1 KB/s is below any modem, and what a slow body must keep."""


def allowed_connections(config: Config) -> int:
    """Return how many connections one worker takes."""
    if config.connections is not None:
        return config.connections
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = descriptors - RESERVED_CONNECTIONS - ADMIN_CONNECTIONS - OTHER_DESCRIPTORS
    return max(FEWEST_CONNECTIONS, spare // 2)
