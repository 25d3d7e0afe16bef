"""Trace context: the client's if it is valid, else a new one; sampled as configured."""

from __future__ import annotations

import pytest

from gateway.telemetry.trace_context import Sampler, Tracing, create_sampler
from tests.support.builders import request

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01".encode()


def known(name: str, ratio: float = 1.0) -> Sampler:
    found = create_sampler(name, ratio)
    assert found is not None
    return found


def tracing(name: str = "parentbased_always_on", ratio: float = 1.0) -> Tracing:
    return Tracing(known(name, ratio))


def test_without_a_parent_the_request_is_its_own_trace() -> None:
    incoming = request(id=ID)

    context = tracing().context_of(incoming)

    assert (context.trace_id, context.span_id, context.parent_id) == (ID, ID[16:], "")
    assert tracing().teacher_headers(incoming) == ((b"traceparent", f"00-{ID}-{ID[16:]}-03".encode()),)


def test_the_client_is_our_parent_and_we_are_the_teachers() -> None:
    incoming = request(
        id=ID,
        headers=(
            (b"traceparent", VALID),
            (b"accept", b"*/*"),
            (b"tracestate", b"a=1"),
            (b"tracestate", b"b=2"),
            (b"baggage", b"k=v"),
        ),
    )

    context = tracing().context_of(incoming)

    assert (context.trace_id, context.span_id, context.parent_id) == (TRACE, ID[16:], PARENT)
    assert context.state == "a=1,b=2"
    assert tracing().teacher_headers(incoming) == (
        (b"accept", b"*/*"),
        (b"tracestate", b"a=1"),
        (b"tracestate", b"b=2"),
        (b"baggage", b"k=v"),
        (b"traceparent", f"00-{TRACE}-{ID[16:]}-01".encode()),
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-abc",
        VALID.upper(),
        VALID + b"-more",
        b"ff" + VALID[2:],
        f"00-{'0' * 32}-{PARENT}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        b"\xff" * 55,
    ],
)
def test_an_invalid_parent_begins_a_new_trace(value: bytes) -> None:
    """Its tracestate is dropped with it (W3C Trace Context, section 3.3.1)."""
    incoming = request(
        id=ID, headers=((b"traceparent", value), (b"tracestate", b"a=1"), (b"baggage", b"k=v"))
    )

    assert tracing().context_of(incoming).trace_id == ID
    assert [name for name, _ in tracing().teacher_headers(incoming)] == [b"baggage", b"traceparent"]


def test_two_parents_are_invalid() -> None:
    incoming = request(id=ID, headers=((b"traceparent", VALID), (b"traceparent", VALID)))

    assert tracing().context_of(incoming).trace_id == ID


def test_a_later_version_of_the_header_may_be_longer() -> None:
    incoming = request(id=ID, headers=((b"traceparent", b"01" + VALID[2:] + b"-more"),))

    assert tracing().context_of(incoming).trace_id == TRACE


@pytest.mark.parametrize(
    ("name", "ratio", "decided"),
    [
        # without a parent, below an unsampled one, below a sampled one
        ("always_on", 1.0, (True, True, True)),
        ("always_off", 1.0, (False, False, False)),
        ("parentbased_always_on", 1.0, (True, False, True)),
        ("parentbased_always_off", 1.0, (False, False, True)),
        ("traceidratio", 0.0, (False, False, False)),
        ("traceidratio", 1.0, (True, True, True)),
        ("parentbased_traceidratio", 0.0, (False, False, True)),
    ],
)
def test_samplers_decide_like_opentelemetrys(
    name: str, ratio: float, decided: tuple[bool, bool, bool]
) -> None:
    decide = known(name, ratio)

    assert tuple(decide(TRACE, parent) for parent in (None, False, True)) == decided


def test_a_ratio_keeps_its_share_and_always_the_same_traces() -> None:
    decide = known("traceidratio", 0.25)
    ids = [f"{0:016x}{number << 54:016x}" for number in range(1024)]

    assert sum(decide(one, None) for one in ids) == 256


def test_the_teacher_is_told_whether_we_record() -> None:
    quiet = tracing("always_off")
    incoming = request(id=ID, headers=((b"traceparent", VALID),))

    assert not quiet.context_of(incoming).is_sampled
    assert quiet.teacher_headers(incoming)[-1][1].endswith(b"-00")


def test_an_unknown_sampler_is_none() -> None:
    assert create_sampler("parentbased_jaeger_remote", 1.0) is None
