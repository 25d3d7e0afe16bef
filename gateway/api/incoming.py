"""A client's request as the other rooms see it."""

from __future__ import annotations

from gateway.api.auth import Caller
from gateway.core import Grant, Header, IncomingRequest, Request, Resource

NO_KEY = Grant()
"""Callers without a gateway key: the policies alone decide."""


def describe_incoming(
    caller: Caller,
    *,
    request_id: str,
    resource: Resource,
    target: bytes,
    headers: tuple[Header, ...],
    received_at: float,
    body: bytes = b"",
    decoded: bytes | None = None,
    may_go_unread: bool = False,
    form_ids: tuple[str, ...] = (),
) -> IncomingRequest:
    """Return a request of a known caller, its fields not read yet."""
    return IncomingRequest(
        id=request_id,
        caller=caller.id,
        is_trusted=caller.is_trusted,
        tenant=caller.tenant,
        is_vouched_for=caller.sees_scores,
        may_force_local=caller.may_force_local,
        key_id=caller.key.id if caller.key else "",
        grant=caller.key.grant if caller.key else NO_KEY,
        resource=resource,
        target=target,
        headers=headers,
        body=body,
        received_at=received_at,
        decoded=decoded,
        may_go_unread=may_go_unread,
        form_ids=form_ids,
    )


def unread_request(incoming: IncomingRequest, model: str) -> Request:
    """Return the request of an API that only the teacher reads; nothing is learnt from it."""
    facts = {name: getattr(incoming, name) for name in incoming.__struct_fields__}
    return Request(
        **facts,
        surface="other",
        model=model,
        messages=(),
        template="",
        contract_hash="",
        template_text="",
        text="",
        may_harvest=False,
        is_stored=True,
    )
