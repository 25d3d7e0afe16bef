"""W3C trace context of a request: its place in a trace, and whether it is sampled.

Both follow from the id and the headers of the request alone, so the flow and, later, the observers
compute the same without passing it on.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from gateway.core import Header, Request

Sampler = Callable[[str, bool | None], bool]
"""Takes the trace id (32 hex digits), and whether the client's span is sampled (None without one)."""

# W3C Trace Context, section 3.2: later versions may go on after another dash.
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED, _RANDOM = 1, 2
# Like OpenTelemetry's SDKs: the last 8 bytes of the trace id decide, so that all services agree.
_RATIO_DIGITS = 16


class TraceContext(msgspec.Struct, frozen=True):
    """Our span's place in a trace. Ids are lower-case hex; `parent_id` is empty at the root."""

    trace_id: str
    span_id: str
    parent_id: str
    flags: int
    state: str = ""
    """The client's `tracestate`."""

    @property
    def is_sampled(self) -> bool:
        """Whether our span is recorded; the teacher is told the same."""
        return bool(self.flags & _SAMPLED)


class Tracing:
    """Places requests in traces, and makes our span the parent of the teacher's."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def context_of(self, request: Request) -> TraceContext:
        """Return the place of `request`: below the client's span, else at the root of a new trace.

        The request's id, 32 random hex digits, becomes the new trace's id; its last half is our span's.
        """
        parent = _parent(request.headers)
        if parent is None:
            is_sampled = self._sampler(request.id, None)
            return TraceContext(request.id, request.id[16:], "", _RANDOM | is_sampled)
        trace_id, parent_id, flags = parent
        is_sampled = self._sampler(trace_id, bool(flags & _SAMPLED))
        state = b",".join(value for name, value in request.headers if name == b"tracestate")
        return TraceContext(
            trace_id, request.id[16:], parent_id, flags & _RANDOM | is_sampled, state.decode("latin-1")
        )

    def teacher_headers(self, request: Request) -> tuple[Header, ...]:
        """Return the headers of `request` for the teacher, with our span as the parent.

        `baggage` is passed on, and so is `tracestate` unless the client's `traceparent` is invalid.
        """
        context = self.context_of(request)
        dropped = (b"traceparent",) if context.parent_id else (b"traceparent", b"tracestate")
        ours = b"00-%b-%b-%02x" % (context.trace_id.encode(), context.span_id.encode(), context.flags)
        kept = tuple(header for header in request.headers if header[0] not in dropped)
        return (*kept, (b"traceparent", ours))


def create_sampler(name: str, ratio: float) -> Sampler | None:
    """Return OpenTelemetry's sampler `name`; None if OpenTelemetry defines no such sampler."""
    root = _ROOTS.get(name.removeprefix("parentbased_"))
    if root is None:
        return None
    bound = round(root(ratio) * (1 << 4 * _RATIO_DIGITS))

    def sample_by_ratio(trace_id: str, is_parent_sampled: bool | None) -> bool:
        return int(trace_id[-_RATIO_DIGITS:], 16) < bound

    def sample_by_parent(trace_id: str, is_parent_sampled: bool | None) -> bool:
        return sample_by_ratio(trace_id, None) if is_parent_sampled is None else is_parent_sampled

    return sample_by_parent if name.startswith("parentbased_") else sample_by_ratio


_ROOTS: dict[str, Callable[[float], float]] = {
    "always_on": lambda _: 1.0,
    "always_off": lambda _: 0.0,
    "traceidratio": lambda ratio: ratio,
}


def _parent(headers: tuple[Header, ...]) -> tuple[str, str, int] | None:
    """Return the trace id, span id and flags of the client's span; None without a valid `traceparent`."""
    values = [value for name, value in headers if name == b"traceparent"]
    if len(values) != 1:
        return None
    found = _PARENT.fullmatch(values[0].decode("latin-1").strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    is_void = not trace_id.strip("0") or not span_id.strip("0")
    if version == "ff" or is_void or (version == "00" and rest):
        return None
    return trace_id, span_id, int(flags, 16)
