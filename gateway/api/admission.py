"""The admission of one exchange: its caller, the terms of its key, and the tokens that it may use."""

from __future__ import annotations

import msgspec

from gateway.api.auth import Caller
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.body import announced_bytes
from gateway.api.http.exchange import Exchange
from gateway.api.in_flight import Slot
from gateway.api.under_way import UnderWay
from gateway.core import Header, Request
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts

BYTES_PER_TOKEN = 4
# An upload that became too long or too slow has reached the teacher in part.
_WAS_SENT = frozenset({408, 413})


async def admit_request(
    deps: ApiDependencies, headers: tuple[Header, ...], path: str, body_bytes: int, *, may_cost: bool = True
) -> UnderWay:
    """Return the admitted request of the caller that `headers` name; its body is not read yet.

    Raises RequestError: 401 for an unknown caller, 403 for a path that its key may not use, 429 for a
    limit of its key that is reached or its share of a busy worker, 503 if there is more work than time.
    A request that cannot cost money passes a spent budget.
    """
    caller = await deps.authenticator.identify(headers)
    key = caller.key
    slot = _find_place(deps, caller, headers)
    if key is None:
        return UnderWay(caller, None, deps.open_work, slot)
    try:
        _check_path(key, path)
        tokens = body_bytes / BYTES_PER_TOKEN
        if deps.key_limits and deps.key_limits.lacks_lease(key, tokens):
            await deps.key_limits.take_leases(key, tokens)
        admission = deps.key_limits.admit(key, tokens, may_cost=may_cost) if deps.key_limits else None
    except Exception as exc:
        slot.close()
        if isinstance(exc, RequestError):
            exc.key = key.name
        raise
    work = UnderWay(caller, admission, deps.open_work, slot)
    deps.open_work.add(work)
    return work


async def admit_caller(exchange: Exchange, deps: ApiDependencies) -> Caller:
    """Return the caller of `exchange`; it counts in the caller's limits until it ends.

    Raises as `admit_request`.
    """
    if exchange.under_way is None:
        endpoint = exchange.resource.endpoint
        # The bytes of files and forms say nothing of tokens.
        is_text = endpoint is None or endpoint.model == "body"
        body_bytes = (announced_bytes(exchange.headers) or 0) if is_text else 0
        # What the table does not know may cost anything.
        may_cost = endpoint is None or endpoint.model != "none"
        path = exchange.path.path
        exchange.under_way = await admit_request(deps, exchange.headers, path, body_bytes, may_cost=may_cost)
    return exchange.under_way.caller


def take_answer_tokens(exchange: Exchange, request: Request) -> Request:
    """Count the longest answer that `request` allows, and its body if no length announced it.

    Returns the request with what it was counted as. Raises RateLimitedError.
    """
    admission = exchange.under_way.admission if exchange.under_way else None
    if admission is None or not admission.counts_tokens:
        return request
    announced = announced_bytes(exchange.headers)
    unannounced = len(request.body) / BYTES_PER_TOKEN if announced is None else 0.0
    admission.take_tokens(unannounced + (request.max_tokens or 0))
    return count_tokens(exchange, request)


def count_tokens(exchange: Exchange, request: Request) -> Request:
    """Return `request` with what its body was counted as."""
    admission = exchange.under_way.admission if exchange.under_way else None
    if admission is None or not admission.counts_tokens:
        return request
    return msgspec.structs.replace(request, reserved_tokens=admission.tokens)


def give_back_tokens(exchange: Exchange, status: int) -> None:
    """Give back the tokens of a request that was refused before it reached a teacher.

    What reached one is settled by its Outcome.
    """
    admission = exchange.under_way.admission if exchange.under_way else None
    if admission is not None and status < 500 and status not in _WAS_SENT:
        admission.give_back_tokens()


def _find_place(deps: ApiDependencies, caller: Caller, headers: tuple[Header, ...]) -> Slot:
    """Return the request's place in this worker; strangers, who can have any number of names, share one."""
    return deps.in_flight.enter(caller.id if caller.is_trusted else "", headers)


def _check_path(key: KeyFacts, path: str) -> None:
    if not key.grant.allows_path(path):
        raise RequestError(
            f"The key '{key.name}' may not use {path[:200]}; its paths: {', '.join(key.grant.paths)}.",
            status=403,
            code="path_not_allowed",
        )
