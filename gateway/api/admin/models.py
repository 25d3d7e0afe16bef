"""What the admin plane and the commands say of tasks, as JSON."""

from __future__ import annotations

import msgspec

from gateway.core import Certificate, RiskTarget, Stage
from gateway.harvest.reader import Count
from gateway.store.audit_trail import Entry
from gateway.store.interventions import Freeze, SeenAlarm


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
