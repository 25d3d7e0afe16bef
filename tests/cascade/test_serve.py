from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from gateway.core import Certification, Plan, RiskTarget, Route
from gateway.errors import RequestError, SpecialistError, UpstreamError
from tests.cascade.fakes import LIVE, Flow
from tests.support.builders import certified, request


@pytest.fixture
def flow() -> Flow:
    return Flow()


async def test_a_certified_draft_is_served_and_the_teacher_is_not_asked(flow: Flow) -> None:
    body = await flow.read()

    assert msgspec.json.decode(body)["choices"][0]["message"]["content"] == "from the specialist"
    assert flow.teacher.calls == []
    assert (flow.outcome.decision, flow.outcome.reason) == ("local", "certified")


async def test_an_unsure_draft_goes_to_the_teacher_with_the_original_bytes(flow: Flow) -> None:
    flow.drafter.score = 0.4

    body = await flow.read()

    assert b"from the teacher" in body
    assert flow.teacher.calls[0].body == request().body
    assert (flow.outcome.decision, flow.outcome.reason) == ("escalated", "unsure")
    assert flow.outcome.draft is not None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(SpecialistError("host down"), "host down"), (ValueError("a bug of ours"), "internal fault")],
)
async def test_a_broken_specialist_never_reaches_the_client(
    flow: Flow, error: Exception, reason: str
) -> None:
    flow.drafter.error = error

    body = await flow.read()

    assert b"from the teacher" in body
    assert flow.outcome.reason == reason


async def test_what_a_host_that_is_down_costs_belongs_to_the_task(flow: Flow) -> None:
    flow.drafter.error = SpecialistError("host down")

    await flow.read()

    assert flow.outcome.route == flow.the_route


async def test_a_broken_router_never_reaches_the_client(flow: Flow) -> None:
    flow.route_error = SpecialistError("host down")

    assert b"from the teacher" in await flow.read()
    assert flow.outcome.route is None


async def test_an_audit_serves_the_teachers_answer_and_keeps_the_draft(flow: Flow) -> None:
    flow.is_audit = True

    body = await flow.read()

    outcome = await flow.wait_for_outcome()
    assert b"from the teacher" in body
    assert (outcome.decision, outcome.is_held_out, outcome.audit_propensity) == ("audit", True, 0.1)
    assert outcome.draft is not None
    assert outcome.would_serve


async def test_the_client_does_not_wait_for_the_draft_of_an_audit(flow: Flow) -> None:
    """The answer ends while the draft is still being made; the outcome comes after it."""
    flow.is_audit = True
    flow.drafter.gate = asyncio.Event()

    await flow.read()
    assert flow.outcomes == []

    flow.drafter.gate.set()
    assert (await flow.wait_for_outcome()).draft is not None


async def test_a_failing_draft_does_not_break_an_audit(flow: Flow) -> None:
    flow.is_audit = True
    flow.drafter.error = SpecialistError("late")

    assert b"from the teacher" in await flow.read()
    assert (await flow.wait_for_outcome()).draft is None


@pytest.mark.parametrize(
    ("certification", "reason"),
    [
        (Certification(task="t"), "no specialist yet"),
        (certified(stage="shadow", threshold=None, tentative=0.5), "not certified yet"),
        (certified(stage="alarm", threshold=None), "alarm"),
    ],
)
async def test_without_a_certificate_nothing_is_served_locally(
    flow: Flow, certification: Certification, reason: str
) -> None:
    flow.certification = certification

    assert b"from the teacher" in await flow.read()
    outcome = await flow.wait_for_outcome()
    assert (outcome.decision, outcome.reason) == ("escalated", reason)


async def test_an_alarm_stops_a_draft_that_was_begun_before_it(flow: Flow) -> None:
    flow.drafter.gate = asyncio.Event()
    reading = asyncio.create_task(flow.read())
    while not flow.drafter.drafts:
        await asyncio.sleep(0)

    flow.certification = certified(stage="alarm", threshold=None)
    flow.drafter.gate.set()

    assert b"from the teacher" in await reading
    assert flow.outcome.decision == "escalated"


async def test_a_shadow_draft_counts_as_would_serve_by_its_tentative_threshold(flow: Flow) -> None:
    flow.certification = certified(stage="shadow", threshold=None, tentative=0.5)

    await flow.read()

    assert (await flow.wait_for_outcome()).would_serve


async def test_a_request_that_no_specialist_can_answer_bypasses_them(flow: Flow) -> None:
    await flow.read(request(unsupported_reason="tools"))

    assert flow.drafter.drafts == 0
    assert (flow.outcome.decision, flow.outcome.reason) == ("bypass", "tools")


async def test_a_policy_can_keep_everything_with_the_teacher(flow: Flow) -> None:
    flow.the_plan = Plan(policy="p", may_serve=False, because="policy p: teacher only")

    await flow.read()

    assert (flow.outcome.decision, flow.outcome.reason) == ("bypass", "policy p: teacher only")


async def test_a_credential_that_the_teacher_never_accepted_gets_no_local_answer(flow: Flow) -> None:
    await flow.read(request(is_trusted=False))

    assert flow.outcome.decision == "escalated"
    assert flow.drafter.drafts == 0


async def test_local_asked_for_serves_an_uncertified_draft(flow: Flow) -> None:
    flow.certification = Certification(task="t", version=1)

    assert b"from the specialist" in await flow.read(request(mode="local"))


async def test_local_asked_for_without_a_specialist_is_an_error_that_names_the_header(flow: Flow) -> None:
    flow.certification = Certification(task="t")

    with pytest.raises(RequestError) as caught:
        await flow.read(request(mode="local"))

    assert (caught.value.status, caught.value.param) == (404, "x-stepdown-mode")
    assert flow.teacher.calls == []


@pytest.mark.parametrize("reason", ["host down", "version not loaded", "late", "overloaded", "engine down"])
async def test_local_asked_for_while_the_specialist_is_away_is_an_error_that_passes(
    flow: Flow, reason: str
) -> None:
    """The official clients ask again; 404 would say that there is none."""
    flow.drafter.error = SpecialistError(reason)

    with pytest.raises(RequestError, match=f"at the moment: {reason}") as caught:
        await flow.read(request(mode="local"))

    assert (caught.value.status, caught.value.code) == (503, "specialist_unavailable")
    assert (caught.value.param, caught.value.because) == ("x-stepdown-mode", reason)
    assert (b"retry-after", b"1") in caught.value.headers
    assert flow.teacher.calls == []


async def test_a_machine_that_is_cut_off_says_so_and_not_that_there_is_no_specialist(flow: Flow) -> None:
    flow.are_known = False

    assert b"from the teacher" in await flow.read()
    assert flow.outcome.reason == "certificates unknown"
    with pytest.raises(RequestError) as caught:
        await flow.read(request(mode="local"))
    assert (caught.value.status, caught.value.code) == (503, "specialist_unavailable")


async def test_an_unreachable_teacher_leaves_an_outcome_too(flow: Flow) -> None:
    flow.drafter.score = 0.0
    flow.teacher.is_down, flow.teacher.error = True, UpstreamError("refused")

    with pytest.raises(UpstreamError):
        await flow.read()

    assert flow.outcome.status == 502
    assert not flow.outcome.is_complete


async def test_a_client_that_leaves_ends_the_teachers_call_and_the_answer_is_incomplete(flow: Flow) -> None:
    flow.drafter.score = 0.0
    flow.teacher.pieces = (b"a", b"b")
    answer = await flow.serve()
    await anext(answer.body)

    await answer.body.aclose()

    assert flow.teacher.closed == 1
    assert not flow.outcome.is_complete


async def test_an_answer_that_is_never_read_still_leaves_its_outcome(flow: Flow) -> None:
    answer = await flow.serve()

    await answer.body.aclose()

    assert not flow.outcome.is_complete


STREAM_HEAD = b'data: {"choices":[{"delta":{"content":"hel"},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize(
    ("pieces", "error"),
    [((STREAM_HEAD,), UpstreamError("reset")), ((STREAM_HEAD,), None), ((), UpstreamError("reset"))],
)
async def test_a_stream_cut_short_ends_with_an_error_event_and_no_done(
    flow: Flow, pieces: Sequence[bytes], error: Exception | None
) -> None:
    flow.drafter.score = 0.0
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces, flow.teacher.error = pieces, error

    body = await flow.read(request(is_streamed=True))

    assert body.startswith(b"".join(pieces))
    assert b'"error"' in body[len(b"".join(pieces)) :]
    assert b"[DONE]" not in body
    assert not flow.outcome.is_complete


async def test_a_stream_of_announced_length_is_cut_where_the_teacher_cuts_it(flow: Flow) -> None:
    """Our own event would not fit into it."""
    flow.drafter.score = 0.0
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.headers = ((b"content-length", b"1000"),)
    flow.teacher.pieces, flow.teacher.error = (STREAM_HEAD,), UpstreamError("cut")

    with pytest.raises(UpstreamError, match="cut"):
        await flow.read(request(is_streamed=True))

    assert not flow.outcome.is_complete


async def test_a_whole_stream_passes_untouched(flow: Flow) -> None:
    flow.drafter.score = 0.0
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces = (STREAM_HEAD, b"data: [DONE]\n\n")

    body = await flow.read(request(is_streamed=True))

    assert body == STREAM_HEAD + b"data: [DONE]\n\n"
    assert flow.outcome.is_complete
    assert flow.outcome.answer == body


async def test_a_huge_answer_passes_whole_and_is_not_kept(flow: Flow) -> None:
    flow.drafter.score = 0.0
    flow.teacher.pieces = [b"x" * 100_000] * 12

    body = await flow.read()

    assert len(body) == 1_200_000
    assert not flow.outcome.is_captured
    assert flow.outcome.answer == b""


async def test_labels_tell_who_served_and_why(flow: Flow) -> None:
    answer = await flow.serve()
    await answer.body.aclose()

    labels = dict(answer.labels)
    assert labels[b"x-stepdown-served-by"] == b"t@1"
    assert labels[b"x-stepdown-decision"] == b"local"
    assert b"x-stepdown-threshold" not in labels
    assert dict(answer.details)[b"x-stepdown-threshold"] == b"0.5000"


@pytest.mark.parametrize(("is_audit", "score"), [(True, 0.9), (False, 0.1)])
async def test_no_label_that_any_caller_sees_names_an_audit(flow: Flow, is_audit: bool, score: float) -> None:
    """A caller that knows which text is audited could repeat it; an unsure draft looks the same."""
    flow.is_audit, flow.drafter.score = is_audit, score

    answer = await flow.serve()
    await answer.body.aclose()

    labels = dict(answer.labels)
    assert labels[b"x-stepdown-decision"] == b"escalated"
    assert labels[b"x-stepdown-reason"] == b"unsure or audited"
    assert (dict(answer.details).get(b"x-stepdown-audit") == b"true") == is_audit


async def test_a_draft_of_another_version_than_the_certified_one_is_not_served(flow: Flow) -> None:
    flow.certification = msgspec.structs.replace(LIVE, version=2)
    flow.drafter.error = SpecialistError("version unknown")

    assert b"from the teacher" in await flow.read()


@pytest.mark.parametrize("score", [0.1, None])
async def test_a_spent_budget_refuses_requests_that_need_the_teacher(flow: Flow, score: float | None) -> None:
    """An unsure draft, or (None) a bypass."""
    flow.drafter.score = score or 0.0
    because = "" if score else "policy says teacher"
    flow.the_plan = Plan(policy="p", may_serve=bool(score), because=because, may_escalate=False)

    with pytest.raises(RequestError) as refused:
        await flow.serve()

    assert (refused.value.status, refused.value.code) == (429, "budget_exceeded")
    assert flow.teacher.calls == []


async def test_a_spent_month_is_not_called_a_day(flow: Flow) -> None:
    flow.the_plan = Plan(
        policy="p", may_serve=False, because="policy says teacher", may_escalate=False, spent_period="month"
    )

    with pytest.raises(RequestError, match=r"for this month .* begins anew at [0-9-]*-01 00:00 UTC"):
        await flow.serve()


async def test_a_spent_budget_stops_the_draft_of_a_task_in_shadow(flow: Flow) -> None:
    flow.the_plan = Plan(policy="p", may_serve=True, may_escalate=False)
    flow.certification = certified(stage="shadow", threshold=None)
    flow.drafter.gate = asyncio.Event()

    with pytest.raises(RequestError, match="budget"):
        await flow.serve()
    await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == 1


async def test_a_spent_budget_leaves_certified_local_service_alone(flow: Flow) -> None:
    flow.the_plan = Plan(policy="p", may_serve=True, may_escalate=False)

    assert b"from the specialist" in await flow.read()


@pytest.mark.parametrize("changes", [{"mode": "local"}, {"mode": "local", "model": "stepdown/t"}])
async def test_a_request_that_must_be_local_never_reaches_the_teacher(
    flow: Flow, changes: dict[str, str]
) -> None:
    """Also if only the teacher could answer it."""
    with pytest.raises(RequestError) as caught:
        await flow.read(request(unsupported_reason="tools", **changes))

    assert caught.value.param == ("model" if "model" in changes else "x-stepdown-mode")
    assert flow.teacher.calls == []


async def test_half_an_event_never_reaches_the_client(flow: Flow) -> None:
    """A client could not read the error event that must follow it."""
    flow.drafter.score = 0.0
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces, flow.teacher.error = (STREAM_HEAD, b'data: {"choi'), UpstreamError("reset")

    body = await flow.read(request(is_streamed=True))

    assert body.startswith(STREAM_HEAD + b"data: {")
    assert b'{"choi' not in body.removeprefix(STREAM_HEAD)[:12]
    assert b'"error"' in body


@pytest.mark.parametrize(
    ("stricter", "reason"),
    [
        ({"alpha": 0.01}, "certified at 2.0%, policy asks for 1.0%"),
        ({"delta": 0.05}, "certified with delta 0.1, policy asks for 0.05"),
        ({"days": 7.0}, "certified on 30 days, policy asks for 7"),
    ],
)
async def test_a_stricter_policy_is_not_served_by_a_laxer_certificate(
    flow: Flow, stricter: dict[str, float], reason: str
) -> None:
    flow.the_plan = msgspec.structs.replace(flow.the_plan, **stricter)

    assert b"from the teacher" in await flow.read()
    assert (await flow.wait_for_outcome()).reason == reason


async def test_what_stands_on_imported_rows_is_served_only_where_the_policy_says_so(flow: Flow) -> None:
    """And says so itself."""
    flow.certification = certified(target=RiskTarget(evidence="imported"))

    assert b"from the teacher" in await flow.read()
    assert (await flow.wait_for_outcome()).reason == "certified on imported rows, not yet confirmed live"

    flow.the_plan = msgspec.structs.replace(flow.the_plan, evidence="imported")
    assert b"from the specialist" in await flow.read()


async def test_live_audits_are_worth_more_than_imported_rows(flow: Flow) -> None:
    flow.the_plan = msgspec.structs.replace(flow.the_plan, evidence="imported")

    assert b"from the specialist" in await flow.read()


async def test_a_policy_of_a_month_is_served_on_the_evidence_of_a_week(flow: Flow) -> None:
    flow.certification = certified(target=RiskTarget(days=7.0))

    assert b"from the specialist" in await flow.read()


async def test_a_caller_that_asks_for_local_is_told_why_its_policy_allows_none(flow: Flow) -> None:
    flow.the_plan = msgspec.structs.replace(flow.the_plan, alpha=0.01)

    with pytest.raises(RequestError, match=r"certified at 2\.0%, policy asks for 1\.0%"):
        await flow.serve(request(mode="local", may_force_local=False))


async def test_a_near_copy_on_probation_is_not_served_to_a_caller_that_asks_for_local(flow: Flow) -> None:
    """The certificate for near copies does not speak of one that has proved nothing yet."""
    flow.the_route = Route("t", "embedding", 0.95, is_on_probation=True)

    with pytest.raises(RequestError, match="template on probation"):
        await flow.serve(request(mode="local", may_force_local=False))

    assert b"from the specialist" in await flow.read(request(mode="local"))


async def test_the_reserve_of_a_budget_pays_audits_of_drafts_that_pass(flow: Flow) -> None:
    """So a spent budget does not blind the drift alarm."""
    flow.the_plan = Plan(policy="p", may_serve=True, may_escalate=False, is_reserve=True)
    flow.is_audit = True

    assert b"from the teacher" in await flow.read()
    assert (flow.outcome.decision, flow.outcome.is_held_out) == ("audit", True)


async def test_a_draft_that_is_compared_alone_is_not_streamed(flow: Flow) -> None:
    """Seed 2360 of the simulation: the stream of such a draft was never read, and stayed open."""
    flow.the_plan = Plan(policy="p", may_serve=True, may_escalate=False, is_reserve=True)
    flow.is_audit = True
    flow.teacher.content_type = b"text/event-stream"

    await flow.read(request(is_streamed=True))

    assert [asked.is_streamed for asked in flow.drafter.requests] == [False]


async def test_the_reserve_of_a_budget_pays_nothing_else(flow: Flow) -> None:
    flow.the_plan = Plan(policy="p", may_serve=True, may_escalate=False, is_reserve=True)
    flow.is_audit, flow.drafter.score = True, 0.1

    with pytest.raises(RequestError, match="budget"):
        await flow.serve()

    assert flow.teacher.calls == []


async def test_an_audited_draft_that_could_not_be_served_is_not_counted_as_served(flow: Flow) -> None:
    """Otherwise the alarm would count answers that no client can get."""
    flow.is_audit = True

    await flow.read(request(stop=("specialist",)))

    assert not (await flow.wait_for_outcome()).would_serve


async def test_a_private_request_goes_to_the_teacher_and_is_neither_lesson_nor_evidence(flow: Flow) -> None:
    """One decision for serving, auditing and harvesting: without a route it is none of them."""
    asked = request(text="I am jane@example.org")
    flow.the_plan = msgspec.structs.replace(flow.the_plan, private_kinds=frozenset({"email"}))

    body = await flow.read(asked)

    assert b"from the teacher" in body
    assert flow.outcome.reason == "private data: email"
    assert (flow.outcome.decision, flow.outcome.route, flow.outcome.is_held_out) == ("bypass", None, False)
