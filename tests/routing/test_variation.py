"""A copy that differs in a date is the same prompt; one that differs in a word may be its opposite."""

from __future__ import annotations

import pytest

from gateway.routing.variation import compare_templates

OWN = "You sort tickets for jane.doe@example.com. Today is Monday, 2026-11-23 09:15. Answer with the label."


@pytest.mark.parametrize(
    "copy",
    [
        OWN.replace("2026-11-23", "2026-11-24"),
        OWN.replace("Monday, 2026-11-23 09:15", "Tuesday, 2026-12-01 17:02"),
        OWN.replace("jane.doe@example.com", "mark@shop.example.org"),
    ],
)
def test_another_date_or_address_is_no_other_template(copy: str) -> None:
    assert compare_templates(OWN, copy).is_volatile


@pytest.mark.parametrize(
    ("own", "copy"),
    [
        ("Session 9f1c22ab77de. Sort.", "Session 01ab99ffe2c4. Sort."),
        ("It is November 3. Sort.", "It is March 14. Sort."),
        (
            "User 5f0c8a8e-1d2b-4c3d-9e8f-001122334455 asks.",
            "User 00000000-1d2b-4c3d-9e8f-998877665544 asks.",
        ),
        ("See https://a.example/x for rules.", "See https://b.example/y?z=1 for rules."),
    ],
)
def test_ids_dates_and_addresses_are_known_to_vary(own: str, copy: str) -> None:
    assert compare_templates(own, copy).is_volatile


@pytest.mark.parametrize(
    "copy",
    [
        OWN.replace("Answer with the label", "Answer with a label that does NOT fit"),
        OWN.replace("sort", "rank"),
        OWN + " Answer in French.",
        OWN.replace("tickets", "9 tickets"),
    ],
)
def test_another_word_or_number_may_be_another_task(copy: str) -> None:
    """A bare number is no id: "the 3 best" and "the 5 best" want different answers."""
    assert not compare_templates(OWN, copy).is_volatile


def test_copies_that_differ_at_one_place_share_it() -> None:
    """The name of a user, say: what thirty users have shown need not be shown by each."""
    places = {
        compare_templates("You help Ann with mail.", f"You help {name} with mail.").place for name in NAMES
    }

    assert len(places) == 1
    assert places != {compare_templates("You help Ann with mail.", "You help Ann with cars.").place}


def test_a_repeated_word_is_counted_once() -> None:
    one, two = compare_templates("a b", "a b b"), compare_templates("a b", "a b")

    assert not one.is_volatile
    assert two.is_volatile


NAMES = ("Bob", "Cleo", "Dan Brown")
