"""What was spent and saved in a period, grouped as an operator asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from gateway.finops.periods import is_whole_day, name_day
from gateway.store.decision_log import DecisionLog
from gateway.store.ledger_row import LedgerRow
from gateway.store.spend import Account, SpendLog, Sums

Grouping = Literal["day", "policy", "model", "key", "tenant", "task", "endpoint", "decision"]
GROUPINGS: tuple[Grouping, ...] = ("day", "policy", "model", "key", "tenant", "task", "endpoint", "decision")

Entry = tuple[Account, Sums]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one value of the grouping; `audit_usd` is the part of the cost that audits were."""

    name: str
    sums: Sums
    audit_usd: float
    local_requests: int

    @property
    def saved_usd(self) -> float:
        """Dollars that local answers saved, after all that was wasted on hedges."""
        return self.sums.counterfactual_usd - self.sums.usd


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of a period; `begins_at` is later than asked where rows of that time are gone."""

    entries: list[Entry]
    begins_at: float
    is_cut: bool = False


def read_period(spend: SpendLog, decisions: DecisionLog, since: float | None) -> Period:
    """Return the accounts from `since` on: whole days from the sums, others from the rows."""
    if since is None or is_whole_day(since):
        return Period(entries=spend.entries("" if since is None else name_day(since)), begins_at=since or 0.0)
    oldest = decisions.begins_at()
    return Period(
        entries=sum_rows(decisions.iterate(since)),
        begins_at=since,
        is_cut=oldest is not None and oldest > since and decisions.has_dropped(),
    )


def sum_rows(rows: Iterable[LedgerRow]) -> list[Entry]:
    """Return the accounts that `rows` add up to, by day."""
    accounts: dict[Account, Sums] = {}
    for row in rows:
        account = row.account(name_day(row.at))
        accounts[account] = accounts.get(account, Sums()) + row.sums()
    return sorted(accounts.items(), key=lambda entry: msgspec.structs.astuple(entry[0]))


def group_entries(entries: Sequence[Entry], by: Grouping) -> list[Group]:
    """Return a group for each value of `by`: days in order, others by what they cost."""
    parts: dict[str, list[Entry]] = {}
    for account, sums in entries:
        parts.setdefault(getattr(account, by), []).append((account, sums))
    groups = [create_group(name, part) for name, part in parts.items()]
    if by == "day":
        return sorted(groups, key=lambda group: group.name)
    return sorted(groups, key=lambda group: (-group.sums.usd, -group.sums.requests, group.name))


def describe_period(period: Period, by: Grouping) -> dict[str, Any]:
    """Return a period as plain data: what `costs report --json` prints."""
    plain = msgspec.to_builtins
    total = create_group("", period.entries)
    return {
        "total": {**plain(total.sums), "audit_usd": total.audit_usd, "saved_usd": total.saved_usd},
        "groups": [
            {by: group.name, **plain(group.sums), "audit_usd": group.audit_usd, "saved_usd": group.saved_usd}
            for group in group_entries(period.entries, by)
        ],
        "entries": [{**plain(account), **plain(sums)} for account, sums in period.entries],
    }


def create_group(name: str, entries: Sequence[Entry]) -> Group:
    """Return the sums over `entries`."""
    return Group(
        name=name,
        sums=sum((sums for _, sums in entries), start=Sums()),
        audit_usd=sum(sums.usd for account, sums in entries if account.decision == "audit"),
        local_requests=sum(sums.requests for account, sums in entries if account.decision == "local"),
    )
