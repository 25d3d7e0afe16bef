"""A request that has been here before is known by CDN-Loop (RFC 8586)."""

from __future__ import annotations

from gateway.wire.loop_header import LONGEST_CHAIN, LOOP, extend_chain, has_looped


def test_a_request_that_we_sent_has_been_here() -> None:
    assert has_looped((extend_chain((), b"a1"),), b"a1")


def test_a_chain_of_gateways_is_no_loop() -> None:
    first = extend_chain((), b"a1")

    second = extend_chain((first,), b"b2")

    assert second == (LOOP, b"stepdown;id=a1, stepdown;id=b2")
    assert not has_looped((second,), b"c3")
    assert has_looped((second,), b"a1")


def test_other_networks_are_no_loop() -> None:
    headers = ((LOOP, b"cloudflare; loops=1, akamai"), (b"x-id", b"stepdown;id=a1"))

    assert not has_looped(headers, b"a1")


def test_a_loop_of_replicas_ends_though_none_has_met_itself() -> None:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    for number in range(LONGEST_CHAIN + 1):
        assert not has_looped(headers, b"me")
        headers = (extend_chain(headers, b"%d" % number),)

    assert has_looped(headers, b"me")


def test_several_headers_are_one_chain() -> None:
    assert has_looped(((LOOP, b"stepdown;id=a1"), (LOOP, b"stepdown;id=b2")), b"b2")
