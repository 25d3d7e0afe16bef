"""Which decisions an operator wants to see."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from gateway.store.decision_record import DecisionRecord

Decision = Literal["local", "escalated", "audit", "bypass", "refused"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


class DecisionFilter(msgspec.Struct, frozen=True):
    """Holds of a record if each of its fields that is not None does."""

    policy: str | None = None
    task: str | None = None
    decision: Decision | None = None
    status: int | None = None

    def __call__(self, record: DecisionRecord) -> bool:
        """Whether the record is wanted."""
        row = record.row
        return (
            (self.policy is None or row.policy == self.policy)
            and (self.task is None or row.task == self.task)
            and (self.decision is None or row.decision == self.decision)
            and (self.status is None or record.status == self.status)
        )
