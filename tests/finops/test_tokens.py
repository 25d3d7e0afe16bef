"""Estimated tokens come near what the teacher would report."""

from __future__ import annotations

import pytest

from gateway.core import Message, Request, Usage
from gateway.finops import tokens
from gateway.finops.tokens import TokenEstimator
from tests.support.builders import request


def ask(text: str, template: str = "feed", model: str = "giant") -> Request:
    return request(messages=(Message("user", text),), template=template, model=model)


def teachers_usage(text: str, answer: str) -> Usage:
    """Return the usage of a tokeniser with 5 bytes a token in prompts and 3 in answers."""
    return Usage(prompt_tokens=7 + len(text) // 5, completion_tokens=len(answer) // 3)


def test_what_was_learnt_is_applied_to_other_lengths() -> None:
    estimator = TokenEstimator()
    for length in (500, 1000, 2000):
        estimator.learn(ask("p" * length), 30, teachers_usage("p" * length, "a" * 30))

    usage = estimator.estimate(ask("p" * 5000), "a" * 60)

    assert usage == Usage(prompt_tokens=1007, completion_tokens=20, is_estimated=True)


def test_a_new_template_uses_what_is_known_of_its_model() -> None:
    estimator = TokenEstimator()
    estimator.learn(ask("p" * 1000), 30, teachers_usage("p" * 1000, "a" * 30))

    usage = estimator.estimate(ask("p" * 1000, template="new"), "a" * 30)

    assert usage.prompt_tokens == 207


def test_a_template_knows_better_than_its_model() -> None:
    """Its language or its JSON may take far more tokens per byte."""
    estimator = TokenEstimator()
    estimator.learn(ask("p" * 1000, template="json"), 30, Usage(507, 15))
    estimator.learn(ask("p" * 1000, template="prose"), 30, Usage(207, 10))

    assert estimator.estimate(ask("p" * 1000, template="json"), "a" * 30).prompt_tokens == 507


def test_reasoning_is_not_taken_to_grow_with_the_text() -> None:
    """A label after 2,000 tokens of thought made a cut stream of 10 KB cost as much as 20 million tokens."""
    reported, silent = TokenEstimator(), TokenEstimator()
    for _ in range(20):
        reported.learn(ask("p" * 1000), 9, Usage(207, 2003, reasoning_tokens=2000))
        silent.learn(ask("p" * 1000), 9, Usage(3207, 2003))

    assert reported.expect(ask("p" * 1000), 9_000).usage.completion_tokens == 5000
    assert silent.expect(ask("p" * 1000), 9_000).usage.completion_tokens == 4251
    # Nor is a prompt that the teacher adds by itself.
    assert silent.expect(ask("p" * 2000), 9).usage.prompt_tokens == 3457


def test_nothing_learnt_still_gives_a_plausible_number() -> None:
    usage = TokenEstimator().estimate(ask("where is my card?"), "card_arrival")

    assert (usage.prompt_tokens, usage.completion_tokens) == (11, 3)


@pytest.mark.parametrize("text", ["", "\ud800", "日本語"])
def test_any_text_can_be_estimated(text: str) -> None:
    estimator = TokenEstimator()
    estimator.learn(ask(text), 3 * len(text), Usage(1, 1))

    assert estimator.estimate(ask(text), text).prompt_tokens >= 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new templates push out the oldest, not the model."""
    monkeypatch.setattr(tokens, "MAX_RATIOS", 10)
    estimator = TokenEstimator()
    for n in range(100):
        estimator.learn(ask("p" * 1000, template=f"t{n}"), 30, teachers_usage("p" * 1000, "a" * 30))

    assert estimator.estimate(ask("p" * 1000, template="t0"), "").prompt_tokens == 207
    # Now the model's ratio is another, so an estimate of 207 comes from a remembered template.
    estimator.learn(ask("p" * 1000, template="costly"), 30, Usage(100_000, 10))
    estimates = [estimator.estimate(ask("p" * 1000, template=f"t{n}"), "") for n in range(100)]
    remembered = [n for n, estimate in enumerate(estimates) if estimate.prompt_tokens == 207]
    assert remembered == list(range(92, 100)), "ten ratios: the model's, the last one's and eight more"


def test_the_cache_holds_as_much_of_a_local_answers_prompt_as_of_the_teachers() -> None:
    """Half of them found 1,500 of 2,000 prompt tokens in the cache."""
    estimator = TokenEstimator()
    for cached in (0, 1500) * 400:
        estimator.learn(ask("p" * 8000), 30, Usage(2000, 10, cached), "gpt-4o-2024-08-06", "flex")

    expected = estimator.expect(ask("p" * 8000), 30)

    assert expected.usage.prompt_tokens == 2000
    assert expected.usage.cached_tokens == pytest.approx(750, rel=0.01)
    assert (expected.model, expected.tier) == ("gpt-4o-2024-08-06", "flex")
    assert estimator.estimate(ask("p" * 8000), "a" * 30).cached_tokens == 0, "our own cache holds nothing"


def test_the_longest_of_the_last_answers_is_what_a_next_one_may_take() -> None:
    estimator = TokenEstimator()
    first = estimator.longest_completion(ask("p"))
    for length in (9_000, *[20] * 99, 35):
        estimator.learn(ask("p"), 0, Usage(9, length))

    assert (first, estimator.longest_completion(ask("p"))) == (1_000, 35)
