"""What the admin plane and the commands say of tasks and of the blind sample, as JSON."""

from __future__ import annotations

import msgspec

from gateway.core import Certificate, RiskTarget, Stage
from gateway.harvest.reader import Count
from gateway.store.audit_trail import Entry
from gateway.store.interventions import Freeze, SeenAlarm
from gateway.store.preferences import Verdict


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `stepdown tasks list|show --json` prints of a task. Times are unix seconds."""

    task: str
    """The id: it never changes."""
    name: str
    """The readable name, unique among the tasks of its owner."""
    scope: str
    """The owner: `tenant:...`, `policy:...` or `all`."""
    model: str
    template_text: str
    adopted_at: float
    stage: Stage
    version: int | None
    is_serving: bool
    """Whether drafts may be served to the policy that asks for the least."""
    because: str
    """Why it serves not at all, or not to all policies; empty if it serves to all."""
    freeze: Freeze | None
    frozen_by: str
    """The actor of the audit trail; empty if it is not frozen."""
    alarms: int
    """So many since the beginning."""
    seen_alarm: SeenAlarm | None
    """The acknowledgement of the latest alarm, None while there is none."""
    targets: tuple[RiskTarget, ...]
    """What the policies ask for, strictest first."""
    certificates: tuple[Certificate, ...]
    note: str
    """What failed in the learner's last step."""
    rows: Count
    changes: tuple[Entry, ...] = ()
    """The latest changes by operators, newest first; for one task alone."""


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a change of one task, or of all (`task` is null)."""

    task: str | None
    is_changed: bool
    """False if it was so before."""


class SampleItem(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the sample with its two answers, in an order that says nothing."""

    request_id: str
    task: str
    name: str
    at: float
    text: str
    """What varied in the request."""
    a: str
    b: str


class WholeReview(msgspec.Struct, frozen=True, kw_only=True):
    """How often each side was wrong in a random part of the sample, agreements included, as people judged it.

    The certificate compares with the teacher; this compares both with people. `interval` holds the true
    rate with a probability of 95 %, once all of the part is judged.
    """

    size: int
    judged: int
    local_wrong: int
    teacher_wrong: int
    local_interval: tuple[float, float]
    teacher_interval: tuple[float, float]


class SampleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the local answers of one task in the last 30 days."""

    task: str
    name: str
    sampled: int
    agreed: int
    """Both said the same: only a review of the whole judges these."""
    waiting: int
    """How many of the others are to be judged."""
    local: int
    teacher: int
    same: int
    neither: int
    whole: WholeReview | None = None
    """What people found in a random part of the sample that they judged whole; None without any judgement
    of that part."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged, and whose answer it was."""

    request_id: str
    verdict: Verdict
