"""Tasks as `tasks list` and `tasks show` print them, at most 80 columns wide."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gateway.api.admin.models import TaskReport
from gateway.core import NOT_CONFIRMED, Certificate, RiskTarget
from gateway.distill.preview import Preview
from gateway.processes.task_report import Stakes
from gateway.store.audit_trail import Entry
from gateway.store.interventions import Freeze

if TYPE_CHECKING:
    from gateway.processes.migrating import Migration

WIDTH = 80
_LABEL = 12
_TEXTS = {"new": "new texts", "learnt": "texts it has learnt", "variant": "near copies of the template"}


def format_freeze(freeze: Freeze, by: str) -> str:
    """Return since when, by whom, and why."""
    whom = f" by {by}" if by else ""
    return f"FROZEN since {_format_time(freeze.at)}{whom}" + (f": {freeze.note}" if freeze.note else "")


def format_row(report: TaskReport) -> Iterator[str]:
    """Yield a line of the list, and a second one if something is to be said of the task."""
    version = f"v{report.version}" if report.version else "-"
    served = "serving" if report.is_serving else "frozen" if report.freeze else report.stage
    yield _cut(f"{report.name:33} {served:8} {version:4} {report.task} {report.scope}")
    if report.because and report.because != served:
        # A path in it is long, and its end says the most.
        yield from textwrap.wrap(report.because, WIDTH, initial_indent="    ", subsequent_indent="    ")
    if report.alarms and report.seen_alarm is None:
        yield f"    alarm {report.alarms} is not acknowledged"


def format_migration(done: Migration, name_of: Callable[[str], str]) -> Iterator[str]:
    """Yield the lines of `tasks migrate`."""
    yield (
        f"{done.asked:,} asked for ${done.usd:,.4f}, {done.known:,} answered before, {done.failed:,} failed"
    )
    if done.failed:
        yield from _fill(f"the first that failed: {done.fault}")
    if done.unlearnt:
        teach = "1 answer teaches" if done.unlearnt == 1 else f"{done.unlearnt:,} answers teach"
        yield from _fill(f"{teach} nothing (refused, cut, or private): --again asks once more")
    if done.barred:
        yield from _fill(f"{done.barred:,} not asked, because nothing could be learnt: {done.barred_by}")
    sample = done.barred + done.asked + done.known + done.failed + done.left
    if done.left:
        yield f"{done.left:,} not asked: the budget does not reach; the next run asks them"
    elif done.known and done.known + done.barred == sample:
        yield from _fill(f"nothing is left to ask: {done.model} has answered the whole sample before")
    if sample < done.texts:
        yield f"the sample is {sample:,} of {done.texts:,} texts: --rows takes more"
    if done.asked or done.known:
        low, high = done.interval
        yield from _fill(
            f"{done.model} agrees with the old teacher in {done.agreement:.1%} ({low:.1%} to {high:.1%})"
        )
    for task, count in done.tasks.items():
        rows = "1 new row" if count == 1 else f"{count:,} new rows"
        yield from _fill(
            f"{name_of(task)}: {rows}; its specialist drafts in shadow until live audits confirm it"
        )


def format_details(report: TaskReport, stakes: Stakes | None, now: float) -> Iterator[str]:
    """Yield the lines of `tasks show`."""
    yield from _wrap("task", f"{report.name} ({report.task}) of {report.scope or 'no one known'}")
    if report.adopted_at:
        yield from _wrap("asks", f"{report.model}, since {_format_day(report.adopted_at)}")
    if report.template_text:
        yield from _wrap("template", textwrap.shorten(report.template_text, 240, placeholder=" ..."))
    yield from _wrap("now", _describe_service(report))
    if report.alarms:
        yield from _wrap("alarms", _describe_alarms(report))
    for target in sorted({*report.targets, *(each.target for each in report.certificates)}):
        yield from _wrap(
            _label_promise(target, report.targets),
            f"of the answers served locally at most {target.alpha:.1%} disagree with the teacher"
            f"{target.manner}, with probability {1 - target.delta:.0%}",
        )
        for each in report.certificates:
            if each.target == target:
                yield from _wrap("", _describe_certificate(each, now))
                if each.audits_missing and stakes:
                    yield from _wrap("", f"  {_describe_eta(each.audits_missing, stakes.audits_for(each))}")
    if report.note:
        yield from _wrap("learner", report.note)
    for number, entry in enumerate(report.changes):
        yield from _wrap("" if number else "changed", _describe_change(entry))
    yield from _wrap(
        "rows", f"{report.rows.training:,} to learn from, {report.rows.held_out:,} held out as evidence"
    )
    if stakes:
        yield from _wrap("money", _describe_money(report, stakes))


def _label_promise(target: RiskTarget, asked: Sequence[RiskTarget]) -> str:
    if target in asked:
        return "promise"
    return "to confirm" if target in {each.confirmed for each in asked} else "not asked"


def format_previews(previews: Sequence[Preview], stakes: Stakes | None) -> Iterator[str]:
    """Yield a table of other alphas."""
    yield ""
    yield f"what the {previews[0].audits:,} audits of today would give, an estimate, not a certificate:"
    yield f"  {'alpha':>6}  {'served locally':>14}  {'wrong in accepted':>18}  {'saved a day':>12}"
    for each in previews:
        saved = f"${each.share * stakes.full_usd:,.4f}" if stakes else "-"
        wrong = f"{each.losses:g} of {each.accepted:,}" if each.accepted else "no test passes"
        yield f"  {each.target.alpha:>6.1%}  {each.share:>14.1%}  {wrong:>18}  {saved:>12}"


def _describe_service(report: TaskReport) -> str:
    version = f"version {report.version}" if report.version else ""
    if report.freeze:
        return f"{format_freeze(report.freeze, report.frozen_by)}; the teacher answers all requests"
    if report.is_serving:
        rest = f"; not to every policy: {report.because}" if report.because else ""
        return f"{version} answers what its certificates cover, the teacher the rest{rest}"
    drafts = f"; {version} drafts in shadow" if version and report.stage == "shadow" else ""
    return f"the teacher answers all requests: {report.because}{drafts}"


def _describe_alarms(report: TaskReport) -> str:
    seen = report.seen_alarm
    if seen is None:
        return f"{report.alarms}, the last not acknowledged: `stepdown tasks ack {report.name}`"
    note = f": {seen.note}" if seen.note else ""
    return f"{report.alarms}, the last acknowledged {_format_time(seen.at)}{note}"


def _describe_change(entry: Entry) -> str:
    facts = "" if entry.facts == "{}" else f" {entry.facts}"
    return f"{_format_time(entry.at)} by {entry.actor}: {entry.action}{facts}"


def _describe_certificate(each: Certificate, now: float) -> str:
    texts = _TEXTS[each.stratum]
    is_imported = each.target.evidence == "imported"
    kind = "imported rows" if is_imported else "audits"
    span = f"{kind} of {_format_day(each.evidence_from)} to {_format_day(each.evidence_to)}"
    if each.is_in_force(now):
        caution = f"; {NOT_CONFIRMED}" if is_imported else ""
        return (
            f"{texts}: in force until {_format_day(each.expires_at)}. {each.losses:g} of {each.accepted:,} "
            f"accepted answers were wrong, {span}; {each.coverage:.0%} of the requests pass "
            f"(score {each.threshold or 0.0:.3f} and more){caution}"
        )
    stage = "lapsed" if each.stage == "live" else each.stage
    evidence = f" ({each.audits:,} {span})" if each.audits else ""
    return f"{texts}: {stage}, {each.note or 'not tested yet'}{evidence}"


def _describe_eta(missing: int, per_day: float) -> str:
    if not per_day:
        return f"{missing:,} audits are missing, and none came in the last day"
    days = missing / per_day
    time_left = f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} hours"
    return f"{missing:,} audits are missing: about {time_left} at {per_day:,.0f} that count a day"


def _describe_money(report: TaskReport, stakes: Stakes) -> str:
    spent = f"${stakes.teacher_usd:,.4f} a day over the last {_count_days(stakes.days)}"
    saved = stakes.full_usd - stakes.teacher_usd
    if report.is_serving or saved > 0:
        return f"{spent}, ${saved:,.4f} a day saved; without a specialist ${stakes.full_usd:,.4f}"
    covered = max((each.coverage for each in report.certificates), default=0.0)
    hope = f"; a certificate as far as drafts go now would save ${covered * stakes.full_usd:,.4f} a day"
    return spent + (hope if covered else "; nothing is saved yet")


def _count_days(days: float) -> str:
    return "day" if days < 1.5 else f"{days:.0f} days"


def _wrap(label: str, text: str) -> list[str]:
    indent = " " * (_LABEL + 2 + (len(text) - len(text.lstrip())))
    head = f"{label:{_LABEL}}  " if label else indent
    # Names of tasks have hyphens, and a command is to be copied.
    return textwrap.wrap(
        text.strip(), WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
    ) or [head]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def _format_day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _format_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _fill(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
