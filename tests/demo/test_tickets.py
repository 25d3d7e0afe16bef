from __future__ import annotations

from gateway.demo.tickets import MOVED, PROMPT, SUBJECTS, generate_tickets


def test_the_same_seed_gives_the_same_tickets() -> None:
    assert list(generate_tickets(50, seed=3)) == list(generate_tickets(50, seed=3))


def test_another_seed_gives_others() -> None:
    assert list(generate_tickets(50, seed=3)) != list(generate_tickets(50, seed=4))


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    assert list(generate_tickets(50, seed=3))[:20] == list(generate_tickets(20, seed=3))


def test_every_label_of_the_prompt_occurs_and_no_other() -> None:
    labels = {pair.answer for pair in generate_tickets(1_000, seed=0)}

    assert labels == set(SUBJECTS)
    assert all(label in PROMPT for label in labels)


def test_no_slot_stays_unfilled() -> None:
    assert not any(mark in pair.text for pair in generate_tickets(1_000, seed=0) for mark in "{}")


def test_a_ticket_is_a_prompt_and_a_question() -> None:
    (pair,) = generate_tickets(1, seed=0)

    assert [message["role"] for message in pair.messages] == ["system", "user"]
    assert pair.messages[0]["content"] == PROMPT
    assert pair.text == pair.messages[1]["content"]


def test_the_drift_moves_labels_and_leaves_the_texts() -> None:
    before, after = list(generate_tickets(300, seed=5)), list(generate_tickets(300, seed=5, moved=True))

    assert [pair.text for pair in before] == [pair.text for pair in after]
    assert [MOVED.get(pair.answer, pair.answer) for pair in before] == [pair.answer for pair in after]
    assert before != after
