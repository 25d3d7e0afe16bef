"""What would have had to differ for the other decision, in plain words."""

from __future__ import annotations

from gateway.core import NOT_CONFIRMED
from gateway.store.decision_record import REFUSED, DecisionRecord

_BY_REASON = {
    "no specialist yet": (
        "a specialist of the task, which the learner makes from enough of its traffic; "
        "`stepdown learn status` says how much is missing"
    ),
    "alarm": "an end of the alarm: audits found too many wrong answers, and a new certificate must be earned",
    NOT_CONFIRMED: "live audits that confirm what imported rows taught, or `imported: serve` in the policy",
    "certificate lapsed": "newer audits: the certificate ran out before enough of them renewed it",
    "certificates unknown": (
        "certificates that can be read, and machines that reach one another: cut off for longer than "
        "`state.lease_s`, this one cannot know of an alarm"
    ),
    "template on probation": "a template that has shown in audits that it is the task's own, or equals it",
    "form not certified": "a conversation of a form (turns, length) that the certificate's evidence covers",
    "unfamiliar text": "a text nearer to what the specialist has learnt",
    "policy says teacher": "`serve: true` in the policy",
    "no policy matches": "a policy that matches the request",
    "teacher asked for": "no header `x-stepdown-mode: teacher`",
    "shadow asked for": "no header `x-stepdown-mode: shadow`",
    "stored by the teacher": (
        "`store: false` in the request, or `stored_responses: serve` in the policy: "
        "the teacher would keep its answer, a specialist's is not kept"
    ),
    "caller not yet accepted by the teacher": "an earlier request with a credential the teacher accepted",
    "late": "a quicker draft: the specialist did not answer in its time budget",
    "specialist too slow": "a quicker version, or a higher `max_latency_ms`; `models show` has what it takes",
    "specialist too large": "a smaller version, or a higher `max_memory_mb`; `models show` has what it takes",
    "specialist not measured": "a version that was measured when it was made: `stepdown learn run --force`",
    "teacher was faster": "a quicker draft: the teacher was asked beside it and answered first",
    "host down": "a model host that runs; it is started again by itself",
    "overloaded": "a model host with less to do",
    "engine down": "a server that can be reached; `urls` in [specialists.engines]",
    "engine lost": "a server of the specialist's engine that keeps its connections",
    "model changed": "the model that was certified; the learner certifies the new one by itself",
    "model not found": "an engine that serves the `model` of its settings",
    "adapter missing": "an engine that takes the version's adapter; `adapters` in [specialists.engines]",
    "no logprobs": "an engine that gives logprobs",
    "version not loaded": "a model host that has loaded the version; it is loaded after a start",
    "draft of another version": "a draft of the version that is certified; one was just replaced",
    "no encoder": "`embed` in the policy, with an encoder that is installed",
    "internal fault": "no fault of the gateway; its log names the request",
    "frozen": "a task that is not frozen; `stepdown tasks list` shows which are, `tasks unfreeze` ends it",
    "websocket": "to be asked for outside a websocket: no specialist answers in one",
    "usage reported later": "nothing: this only reports what an earlier request took",
}
_BY_REFUSED_REASON = {
    "object not found": "an object of this caller's tenant; `stepdown objects list` says whose each is",
    "list not allowed": "`objects: shared` in the policy: the list shows what other tenants made",
    "host not allowed": "to call the gateway by its address, or by a name in `server.names`",
    "origin not allowed": "to come from an app, not from a page of another site",
}
_BY_REFUSAL = {
    401: "a key that `stepdown keys list` shows as valid",
    404: "a path or model that exists here; models: GET /v1/models",
    408: "to come faster: head and body have a time limit",
    413: "a smaller body, or a higher `server.max_body_mb`",
    429: "room in the limit that was reached, or a higher limit of the key or the policy's budget",
    500: "no fault of the gateway; its log names the request",
    503: "a gateway with less to do, or one that is not stopping",
    508: "a teacher that is not this gateway: check OPENAI_BASE_URL",
}


_SWITCHED = 101
"""The status of a websocket's handshake."""
_TEACHER_ANYWAY = "Without it the teacher would have answered, too"


def describe_other_way(record: DecisionRecord) -> str:
    """Return what would have had to differ for another decision than that of `record`."""
    match record.row.decision:
        case "refused":
            return f"To be answered, the request needed {_refusal_needs(record)}."
        case "local":
            return _teacher_instead(record)
        case "audit":
            return _without_audit(record)
    needed = f"To be answered locally, it needed {_local_needs(record)}."
    if record.status == _SWITCHED:
        return f"{needed} Its responses are requests of their own: {record.row.request_id}-1 and so on."
    return needed


def _refusal_needs(record: DecisionRecord) -> str:
    assert record.row.decision == REFUSED
    why, _, because = record.reason.partition(": ")
    if because or why == "no specialist":
        # A specialist alone was asked for, by the header or by its name.
        instead = " or no header `x-stepdown-mode: local`" if why == "no specialist" else ""
        needed = _BY_REASON.get(because, f"a draft that can be served ({because or 'the answer said why'})")
        return f"{needed},{instead}" if instead else needed
    if known := _BY_REFUSED_REASON.get(record.reason):
        return known
    if record.row.policy and record.status == 403:
        return f"another policy that matches before '{record.row.policy}', the one that forbids it"
    if record.status == 403:
        return "a key that may do this, or a policy that opens the path"
    return _BY_REFUSAL.get(record.status, "to be well formed: the answer said what was wrong")


def _teacher_instead(record: DecisionRecord) -> str:
    if not record.row.task:
        return (
            "The teacher would have answered without `embed` in the policy, or with the header "
            "`x-stepdown-mode: teacher`, if it has the model."
        )
    ways = ["the header `x-stepdown-mode: teacher`"]
    if record.threshold is not None:
        ways.insert(0, f"a score below {record.threshold:.3f}")
    return f"The teacher would have answered with {' or '.join(ways)}, or in the draw of an audit."


def _without_audit(record: DecisionRecord) -> str:
    drawn = f"The draw of an audit (probability {record.propensity:.1%}) chose the teacher."
    if known := _BY_REASON.get(record.reason):
        return f"{drawn} {_TEACHER_ANYWAY}: to be answered locally, it needed {known}."
    if record.would_serve:
        return f"{drawn} Without it the draft would have been served."
    return f"{drawn} {_TEACHER_ANYWAY}: {_local_needs_of_draft(record)}."


def _local_needs_of_draft(record: DecisionRecord) -> str:
    bar = record.threshold
    if bar is None and record.certificate is not None:
        bar = record.certificate.threshold
    if record.score is None:
        return "no draft came"
    if bar is not None and record.score < bar:
        return f"the draft's score {record.score:.3f} is below {bar:.3f}"
    return "its text or its form is not one that the certificate covers"


def _known_needs(record: DecisionRecord) -> str:
    known = _BY_REASON.get(record.reason, "")
    if record.reason == "shadow asked for" and record.score is not None and not record.would_serve:
        return f"{known}, and a draft that passes: {_local_needs_of_draft(record)}"
    return known


def _local_needs(record: DecisionRecord) -> str:
    reason, certificate = record.reason, record.certificate
    if known := _known_needs(record):
        return known
    if reason == "unsure" and record.threshold is not None and record.score is not None:
        return f"a score of at least {record.threshold:.3f}; the draft's was {record.score:.3f}"
    if reason.startswith("certified ") and "policy asks for" in reason:
        return f"a policy that asks for less, or a stricter certificate ({reason})"
    if reason == "not certified yet" or reason.endswith("texts not certified"):
        missing = certificate.audits_missing if certificate else None
        some = f"about {missing:,} more audits" if missing else "more audits"
        return f"a certificate, and for that {some}"
    if record.row.decision == "bypass":
        return f"to be of a kind that specialists answer ({reason})"
    return f"a draft that can be served ({reason})"
