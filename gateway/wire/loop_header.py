"""The header that tells a gateway that its request has come back to it: CDN-Loop, RFC 8586.

Chains of stepdowns are legitimate; one that asks itself would multiply each request without end.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core import Header

LOOP = b"cdn-loop"
LONGEST_CHAIN = 8
"""More stepdowns in a row than anyone needs: a loop of replicas that have not met themselves yet."""
_MEMBER = b"stepdown;id="


def has_looped(headers: Sequence[Header], instance: bytes) -> bool:
    """Return whether a request with these headers, their names in lower case, has been here before."""
    # Nearly no request has the header, and each one is asked: a generator would take three times as long.
    for name, _ in headers:
        if name == LOOP:
            chain = _read_chain(headers)
            return instance in chain or len(chain) > LONGEST_CHAIN
    return False


def extend_chain(headers: Sequence[Header], instance: bytes) -> Header:
    """Return the header for the next gateway: those that the request came through, and this one.

    The names of `headers` are in lower case.
    """
    for name, _ in headers:
        if name == LOOP:
            return LOOP, b", ".join([_MEMBER + one for one in (*_read_chain(headers), instance)])
    return LOOP, _MEMBER + instance


def _read_chain(headers: Sequence[Header]) -> list[bytes]:
    members = [one.strip() for name, value in headers if name == LOOP for one in value.split(b",")]
    return [one.removeprefix(_MEMBER) for one in members if one.startswith(_MEMBER)]
