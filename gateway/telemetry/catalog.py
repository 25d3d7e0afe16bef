"""Every metric of the admin plane: the table that the reference and the dashboard are generated from."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Topic = Literal["Requests", "Money", "Certificates", "Learning", "Teachers", "Many machines", "Inside"]


class MetricFacts(msgspec.Struct, frozen=True):
    """One metric, by the name that queries use (of a histogram: without `_bucket`)."""

    topic: Topic
    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    by: tuple[str, ...] = ()
    """The labels that the dashboard's panel shows; it adds up over the others."""


_CERTIFICATE = ("route", "stratum", "target")
_PAYER = ("policy", "tenant", "model", "decision")

CATALOG: tuple[MetricFacts, ...] = (
    MetricFacts("Requests", "stepdown_requests_total", "counter", ("decision", "reason", "route", "status"),
                "requests by decision and its reason", ("decision",)),
    MetricFacts("Requests", "stepdown_refusals_total", "counter", ("status", "reason", "key", "policy"),
                "requests that the gateway refused", ("status", "reason")),
    MetricFacts("Requests", "stepdown_latency_seconds", "histogram", ("decision", "streamed"),
                "first byte in to last byte out", ("decision",)),
    MetricFacts("Requests", "stepdown_first_byte_seconds", "histogram", ("decision", "streamed"),
                "first byte in to first byte out", ("decision",)),
    MetricFacts("Requests", "stepdown_tokens_total", "counter", ("decision", "kind"),
                "tokens by decision", ("decision", "kind")),
    MetricFacts("Money", "stepdown_spent_usd_total", "counter", (), "dollars paid to the teacher"),
    MetricFacts("Money", "stepdown_saved_usd_total", "counter", (), "dollars that local answers saved"),
    MetricFacts("Money", "stepdown_cost_usd_total", "counter", _PAYER,
                "dollars paid to the teacher, by who asked", ("policy",)),
    MetricFacts("Money", "stepdown_counterfactual_usd_total", "counter", _PAYER,
                "dollars that the teacher alone would have cost, net of its prompt cache", ("policy",)),
    MetricFacts("Money", "stepdown_budget_left_usd", "gauge", ("budget", "period"),
                "dollars left of a budget", ("budget", "period")),
    MetricFacts("Money", "stepdown_budget_limit_usd", "gauge", ("budget", "period"),
                "dollars of a budget", ("budget", "period")),
    MetricFacts("Money", "stepdown_budget_overrun_usd_total", "counter", (),
                "dollars above budgets: answers took more than was set aside"),
    MetricFacts("Certificates", "stepdown_certificate_stage", "gauge", (*_CERTIFICATE, "stage"),
                "1 for the stage in force", ("stage",)),
    MetricFacts("Certificates", "stepdown_alarm_unacknowledged", "gauge", ("route",),
                "1 from an alarm until `stepdown tasks ack`", ("route",)),
    MetricFacts("Certificates", "stepdown_specialist_lost", "gauge", ("route",),
                "1 while files of the specialist that drafts are gone", ("route",)),
    MetricFacts("Certificates", "stepdown_certificate_alpha", "gauge", _CERTIFICATE,
                "largest share of served answers that may disagree with the teacher", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_delta", "gauge", _CERTIFICATE,
                "probability that the certificate is wrong", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_threshold", "gauge", _CERTIFICATE,
                "score from which drafts are served", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_coverage", "gauge", _CERTIFICATE,
                "share of requests that pass the threshold", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_version", "gauge", _CERTIFICATE,
                "version of the specialist", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_audits", "gauge", _CERTIFICATE,
                "audits that the certificate rests on", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_audits_missing", "gauge", _CERTIFICATE,
                "audits that a certificate still needs", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_expires_at", "gauge", _CERTIFICATE,
                "when it lapses, unix seconds", _CERTIFICATE),
    MetricFacts("Certificates", "stepdown_certificate_epoch", "gauge", _CERTIFICATE,
                "alarms of the task so far", _CERTIFICATE),
    MetricFacts("Learning", "stepdown_harvest_rows", "gauge", (), "harvested rows"),
    MetricFacts("Learning", "stepdown_learner_rows", "gauge", (), "rows that the learner has looked at"),
    MetricFacts("Learning", "stepdown_learner_step_ended_at", "gauge", (),
                "when the learner's last step ended (before the first: the start), unix seconds"),
    MetricFacts("Learning", "stepdown_specialists_ready", "gauge", (), "workers that reach the model host"),
    MetricFacts("Teachers", "stepdown_teacher_circuits_open", "gauge", ("teacher",),
                "workers that take a teacher for broken", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_requests_total", "counter", ("teacher",),
                "requests that were sent to a teacher first", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_failures_total", "counter", ("teacher",),
                "attempts that a teacher failed: 5xx, 429, no answer", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_retries_total", "counter", ("teacher",),
                "requests that a teacher was sent again", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_circuit_openings_total", "counter", ("teacher",),
                "how often a teacher was taken for broken", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_calls_in_flight", "gauge", ("teacher",),
                "calls that a teacher with a limit has", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_calls_limit", "gauge", ("teacher",),
                "calls that it may have at once, in all workers together", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_calls_queued", "gauge", ("teacher",),
                "calls that wait for a place", ("teacher",)),
    MetricFacts("Teachers", "stepdown_teacher_model_retires_timestamp_seconds", "gauge", ("teacher", "model"),
                "when a teacher will retire a model, unix seconds", ("teacher", "model")),
    MetricFacts("Many machines", "stepdown_shared_state_away", "gauge", (),
                "1 while the shared state cannot be reached; these with `state.url` alone"),
    MetricFacts("Many machines", "stepdown_shared_state_age_seconds", "gauge", (),
                "since this machine knew what the others do, +Inf before the first time"),
    MetricFacts("Many machines", "stepdown_shared_state_machines", "gauge", (),
                "machines that share the state, as last seen"),
    MetricFacts("Many machines", "stepdown_shared_state_writes_waiting", "gauge", (),
                "changes of this machine that the others do not know yet"),
    MetricFacts("Many machines", "stepdown_lease_waits_total", "counter", (),
                "questions for a lease of a limit that a request waited for"),
    MetricFacts("Many machines", "stepdown_lease_misses_total", "counter", (),
                "questions for a lease that had no answer: this machine's share decided"),
    MetricFacts("Inside", "stepdown_process_restarts_total", "counter", ("process",),
                "processes that ended and were started again", ("process",)),
    MetricFacts("Inside", "stepdown_workers_running", "gauge", (), "workers that run and show their sums"),
    MetricFacts("Inside", "stepdown_workers_stale", "gauge", (),
                "workers that cannot read keys and certificates"),
    MetricFacts("Inside", "stepdown_sums_age_seconds", "gauge", (),
                "how long the quietest worker has shown no sums"),
    MetricFacts("Inside", "stepdown_decisions_oldest_wait_seconds", "gauge", (),
                "how long the oldest decision record has waited for the disk, added over workers"),
    MetricFacts("Inside", "stepdown_decisions_waiting", "gauge", (), "decision records not yet written"),
    MetricFacts("Inside", "stepdown_outcomes_waiting", "gauge", (), "outcomes not yet observed"),
    MetricFacts("Inside", "stepdown_harvest_rows_waiting", "gauge", (), "rows not yet durable"),
    MetricFacts("Inside", "stepdown_accounts_waiting", "gauge", (), "sums of dollars not yet written"),
    MetricFacts("Inside", "stepdown_objects_waiting", "gauge", (), "owners of objects not yet on disk"),
    MetricFacts("Inside", "stepdown_spans_waiting", "gauge", (), "spans not yet sent; with an export alone"),
    MetricFacts("Inside", "stepdown_ledger_rows_dropped_total", "counter", (),
                "decision records, and with them rows of the ledger, lost to a full disk"),
    MetricFacts("Inside", "stepdown_outcomes_dropped_total", "counter", (), "outcomes lost to a full queue"),
    MetricFacts("Inside", "stepdown_harvest_rows_dropped_total", "counter", (),
                "rows lost to a full queue"),
    MetricFacts("Inside", "stepdown_audits_dropped_total", "counter", (), "audits lost to a full queue"),
    MetricFacts("Inside", "stepdown_objects_dropped_total", "counter", (), "owners of objects not noted"),
    MetricFacts("Inside", "stepdown_feedback_dropped_total", "counter", (),
                "ratings and corrections of apps lost to a full disk"),
    MetricFacts("Inside", "stepdown_spans_dropped_total", "counter", (),
                "spans lost; with an export alone"),
    MetricFacts("Inside", "stepdown_observer_faults_total", "counter", (),
                "outcomes that an observer failed on"),
)  # fmt: skip
