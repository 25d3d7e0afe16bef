"""The scenarios by name, in the order of the table."""

from __future__ import annotations

from loadtests.certificate.base import Scenario
from loadtests.certificate.scenarios import (
    alarm,
    betting,
    boundary,
    confirmation,
    copies,
    drift,
    graded,
    guards,
    policies,
    price,
    returning,
    slack,
)

SCENARIOS: dict[str, Scenario] = {
    "returning": returning.run_returning_texts,
    "bursts": boundary.run_bursts,
    "mix": drift.run_moving_mix,
    "muted": alarm.run_muted_alarm,
    "refusals": alarm.run_refusing_teacher,
    "copies": copies.run_contradicting_copy,
    "dates": copies.run_dated_copies,
    "policies": policies.run_two_policies,
    "versions": drift.run_new_versions,
    "attempts": boundary.run_attempts,
    "renewals": boundary.run_renewals,
    "confirmations": confirmation.run_confirmations,
    "graded": graded.run_graded,
    "p_values": betting.run_p_values,
    "slack": slack.run_coverage_lost,
    "price": price.show_renewal_price,
    "guards": guards.show_guards_price,
}
