"""An explanation in words, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.core import NOT_CONFIRMED, RiskTarget
from gateway.policy.explanation import Explanation, RuleMatch
from gateway.store.decision_record import CertificateFacts

_COLUMNS = 80
_WITHOUT_JUDGEMENT = frozenset({"shadow asked for", "late", "teacher was faster"})
"""Reasons that say nothing of the draft."""
_NAME_WIDTH = 13


def render_explanation(explanation: Explanation) -> list[str]:
    """Return the lines, none longer than 80 columns."""
    lines: list[str] = []
    for name, text in _sections(explanation):
        printable = "".join(letter if letter.isprintable() else "?" for letter in text)
        lines += textwrap.wrap(
            printable,
            _COLUMNS,
            initial_indent=f"{name:{_NAME_WIDTH}}",
            subsequent_indent=" " * _NAME_WIDTH,
            break_on_hyphens=False,
        )
    return lines


def _sections(one: Explanation) -> Iterator[tuple[str, str]]:
    yield "request", f"{one.request_id}, {format_time(one.at)}"
    asked = f" for {one.model}" if one.model else ""
    caller = f" by key '{one.key}'" if one.key else ""
    yield "", f"{one.method} {one.path}{asked}{caller}".strip()
    yield "decision", _describe_decision(one)
    if one.policy:
        yield "policy", _describe_policy(one)
    for rules in one.rules:
        yield "", _describe_rules(rules)
    if one.task:
        yield "task", _describe_task(one)
    if one.certificate:
        yield "certificate", _describe_certificate(one, one.certificate)
    if one.score is not None:
        yield "draft", _describe_draft(one)
    if one.audit_propensity:
        drawn = "it was" if one.is_held_out else "it was not"
        yield "audit", f"drawn with probability {one.audit_propensity:.1%}: {drawn}"
    if one.decision != "refused":
        yield "cost", _describe_cost(one)
        yield "time", _describe_time(one)
    if one.weight > 1:
        yield "kept", f"as a sample: it stands for {one.weight:.1f} requests of its task and hour"
    yield "otherwise", one.other_way


def _describe_decision(one: Explanation) -> str:
    if one.decision == "refused":
        return f"refused with {one.status}: {one.reason}"
    parts = [f"{one.decision}, answered by {one.served_by} with {one.status}: {one.reason}"]
    if one.is_hedged:
        parts.append("the teacher was asked beside the draft")
    if not one.is_whole:
        parts.append("the answer was broken off")
    return "; ".join(parts)


def _describe_policy(one: Explanation) -> str:
    if not one.alpha or one.served_by == "encoder":
        return f"{one.policy}: its `embed` answers" if one.served_by == "encoder" else one.policy
    return (
        f"{one.policy}: at most {one.alpha:.1%} may differ{_manner(one.agreement)}, "
        f"{1 - one.delta:.0%} sure, "
        f"on evidence of {one.days:g} days"
    )


def _describe_rules(rules: RuleMatch) -> str:
    if rules.failed:
        return f"not '{rules.policy}': {', '.join(rules.failed)} did not match"
    matched = (
        ("models", rules.models), ("callers", rules.callers), ("paths", rules.paths),
        ("methods", rules.methods),
    )  # fmt: skip
    named = [f"{name} {glob}" for name, glob in matched if glob != "*"]
    return f"'{rules.policy}' matched: {', '.join(named) or 'it takes every request'} (files as of now)"


def _describe_task(one: Explanation) -> str:
    if one.match == "fingerprint":
        how = "recognized by its template"
    else:
        near = "" if one.similarity is None else f" (similarity {one.similarity:.3f})"
        how = f"recognized as a near copy of its template{near}"
    probation = ", on probation" if one.is_on_probation else ""
    name = one.task if one.task_name == one.task else f"{one.task_name} ({one.task})"
    return f"{name}, {how}{probation}; form {one.form}"


def _describe_certificate(one: Explanation, facts: CertificateFacts) -> str:
    stratum = f" for {one.stratum} texts" if one.stratum else ""
    promise = f"{facts.alpha:.1%}{_manner(facts.agreement)} at {1 - facts.delta:.0%}"
    is_imported = facts.evidence == "imported"
    if facts.threshold is None or facts.stage != "live":
        missing = f", about {facts.audits_missing:,} audits are missing" if facts.audits_missing else ""
        note = f" ({facts.note})" if facts.note else ""
        return f"none in force{stratum}; {facts.stage} for {promise}{missing}{note}"
    return (
        f"version {one.version}{stratum}: {promise}, threshold {facts.threshold:.3f}, "
        f"{facts.audits:,} {'imported rows' if is_imported else 'audits'} of {_day(facts.evidence_from)} to "
        f"{_day(facts.evidence_to)}, of {facts.accepted:,} accepted {facts.losses:g} wrong; in force until "
        f"{_day(facts.expires_at)}" + (f"; {NOT_CONFIRMED}" if is_imported else "")
    )


def _manner(agreement: str) -> str:
    return RiskTarget(agreement=agreement).manner


def _describe_draft(one: Explanation) -> str:
    assert one.score is not None
    # An audit is not judged; what it was compared with afterwards is the certificate's.
    threshold = one.threshold
    if threshold is None and one.certificate:
        threshold = one.certificate.threshold
    bar = "no threshold" if threshold is None else f"threshold {threshold:.3f}"
    near = "" if one.familiarity is None else f"; familiarity {one.familiarity:.3f}"
    stage = "; by the first stage, from words alone" if one.is_first_stage else ""
    return f"score {one.score:.3f} against {bar}: {_judge_draft(one, threshold)}{near}{stage}"


def _judge_draft(one: Explanation, threshold: float | None) -> str:
    assert one.score is not None
    if one.would_serve:
        return "it passes"
    if threshold is None or one.score < threshold:
        return "it does not pass"
    # The score alone would do.
    if one.decision == "escalated" and one.reason not in _WITHOUT_JUDGEMENT:
        return f"high enough, but it does not pass ({one.reason})"
    return "high enough, but the certificate does not cover such a text or form"


def _describe_cost(one: Explanation) -> str:
    hedge = f", of it ${one.hedge_usd:.6f} for the teacher beside the draft" if one.hedge_usd else ""
    tokens = f"{one.prompt_tokens:,} + {one.completion_tokens:,} tokens"
    estimated = " (estimated)" if one.is_estimated else ""
    return (
        f"${one.usd:.6f}{hedge}; the teacher alone ${one.counterfactual_usd:.6f}, saved "
        f"${one.saved_usd:.6f}; {tokens}{estimated}"
    )


def _describe_time(one: Explanation) -> str:
    draft = f", the draft {one.draft_ms:.1f} ms" if one.draft_ms else ""
    return f"{one.latency_ms:.1f} ms, first byte after {one.first_byte_ms:.1f} ms{draft}"


def format_time(at: float) -> str:
    """Return a moment in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
