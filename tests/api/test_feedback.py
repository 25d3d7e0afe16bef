"""POST /v1/feedback takes what apps say, of their own tenant's requests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.store.reviews import Feedback
from tests.api.site_server import SiteServer, serve_site


@pytest.fixture
def taken() -> list[Feedback]:
    return []


@pytest.fixture
def site_with_reviews(taken: list[Feedback]) -> Iterator[SiteServer]:
    def take(feedback: Feedback) -> bool:
        taken.append(feedback)
        return len(taken) < 3

    with serve_site(put_feedback=take) as site:
        yield site


def test_a_rating_and_a_right_answer_are_taken(site_with_reviews: SiteServer, taken: list[Feedback]) -> None:
    body = b'{"request_id": "r1", "rating": "down", "answer": "refund"}'

    response = site_with_reviews.ask("POST", "/v1/feedback", body)

    assert (response.status, response.json["status"]) == (202, "accepted")
    (feedback,) = taken
    assert (feedback.request_id, feedback.rating, feedback.answer) == ("r1", "down", "refund")
    assert site_with_reviews.teacher.calls == [], "it is ours, not the teacher's"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"request_id": "r1"}', b'{"rating": "up"}', b'{"request_id":"r","rating":"meh"}', b"\xff"],
)
def test_what_says_nothing_is_refused(
    site_with_reviews: SiteServer, taken: list[Feedback], body: bytes
) -> None:
    response = site_with_reviews.ask("POST", "/v1/feedback", body)

    assert response.status == 400
    assert "Invalid feedback" in response.json["error"]["message"]
    assert taken == []


def test_too_much_feedback_is_refused_and_never_waited_for(site_with_reviews: SiteServer) -> None:
    body = b'{"request_id": "r1", "rating": "up"}'

    statuses = [site_with_reviews.ask("POST", "/v1/feedback", body).status for _ in range(3)]

    assert statuses == [202, 202, 503]
