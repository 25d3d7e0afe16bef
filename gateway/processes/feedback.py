"""What apps say of answers, on its way to reviewers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.policy.schema import Policy
from gateway.store.reviews import Feedback, ReviewStore
from gateway.wire.private_data import redact


def create_feedback_taker(reviews: ReviewStore, policies: Sequence[Policy]) -> Callable[[Feedback], bool]:
    """Return the function that keeps feedback without what any policy redacts, and never blocks.

    It returns False if there is no room. Which policy the request had is not known any more.
    """
    kinds = frozenset(kind for policy in policies for kind in policy.private_kinds)

    def take(feedback: Feedback) -> bool:
        if kinds and feedback.answer:
            feedback = msgspec.structs.replace(feedback, answer=redact(feedback.answer, kinds))
        return reviews.put_feedback(feedback)

    return take
