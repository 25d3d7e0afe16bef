"""Usage that comes later: of background responses and batches, in the answer to a GET, counted once."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core import Cost, Outcome, Reading, Usage
from gateway.finops.pricing import Pricer, is_unfinished
from gateway.store.awaited_usage import AwaitedUsage, AwaitedUsages

# The words for "done" of responses, batches and runs.
_FINAL = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})
_BATCHES = "/v1/batches"
_FILE_CONTENT = "/v1/files/{file_id}/content"


class LaterUsage:
    """Remembers which requests got "later", and finds the owner when a later answer says what it took."""

    def __init__(self, pricer: Pricer, awaited: AwaitedUsages) -> None:
        self._pricer = pricer
        self._awaited = awaited

    def settle(self, outcome: Outcome, reading: Reading) -> AwaitedUsage | None:
        """Return who is to pay for what `reading` reports; None unless it is awaited and final.

        Notes the object of an answer that is not final. May block; only answers of the endpoints that
        have such objects are looked at.
        """
        if outcome.status >= 400 or not self._may_concern(outcome, reading):
            return None
        if _creates(outcome) and reading.id and reading.status not in _FINAL:
            self._awaited.add(_owner_of(outcome, reading))
            return None
        object_id = _object_of(outcome, reading)
        if not object_id or not self._awaited.is_awaited(object_id):
            return None
        if reading.usage is not None and _is_something(reading.usage):
            return self._awaited.take(object_id)
        if reading.status in _FINAL and reading.output_file and (owner := self._awaited.take(object_id)):
            # Only the file with the answers says what they took.
            self._awaited.add(_with_id(owner, reading.output_file))
        return None

    def costs_of(self, owner: AwaitedUsage, outcome: Outcome, reading: Reading) -> Iterator[Cost]:
        """Yield the costs that a final answer tells of."""
        if reading.usage is not None:
            yield self._pricer.cost_of(
                reading.usage,
                reading,
                owner.requested,
                outcome.at,
                tier=owner.tier,
                served_by=outcome.served_by,
            )

    def _may_concern(self, outcome: Outcome, reading: Reading) -> bool:
        if outcome.request.surface == "responses":
            return is_unfinished(reading)
        endpoint = outcome.request.resource.endpoint
        return endpoint is not None and (endpoint.usage == "later" or endpoint.path == _FILE_CONTENT)


def _creates(outcome: Outcome) -> bool:
    resource = outcome.request.resource
    return outcome.request.surface == "responses" or (resource.method == "POST" and not resource.ids)


def _object_of(outcome: Outcome, reading: Reading) -> str:
    resource = outcome.request.resource
    if resource.endpoint is not None and resource.endpoint.path == _FILE_CONTENT:
        return resource.ids[0][1] if resource.ids else ""
    if reading.usage is not None and reading.status not in _FINAL:
        return ""
    return reading.id


def _is_something(usage: Usage) -> bool:
    """Whether anything was taken: a batch reports zeros until it is done."""
    return bool(usage.prompt_tokens or usage.completion_tokens or not usage.is_text)


def _owner_of(outcome: Outcome, reading: Reading) -> AwaitedUsage:
    request = outcome.request
    endpoint = request.resource.endpoint
    path = endpoint.path if endpoint else request.resource.path
    return AwaitedUsage(
        id=reading.id,
        at=outcome.at,
        request_id=request.id,
        tenant=request.tenant,
        key=request.caller,
        policy=outcome.plan.policy,
        task=outcome.route.task if outcome.route else "",
        endpoint=path,
        requested=request.model,
        tier="batch" if path == _BATCHES else "",
    )


def _with_id(owner: AwaitedUsage, object_id: str) -> AwaitedUsage:
    return AwaitedUsage(
        **{name: getattr(owner, name) for name in owner.__struct_fields__} | {"id": object_id}
    )
