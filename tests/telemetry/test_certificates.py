"""Certificates as metrics: the ones in force now, and what each still lacks."""

from __future__ import annotations

import pytest

from gateway.core import Certificate, Certification, RiskTarget
from gateway.telemetry import certificates
from gateway.telemetry.metrics import Metrics
from tests.support.builders import certificate
from tests.telemetry.test_metrics import value

TARGET = RiskTarget(0.05)
LIVE = Certification(
    task="cards",
    version=3,
    certificates=(certificate(target=TARGET, threshold=0.8, coverage=0.7, audits=400, expires_at=9.0),),
)
YOUNG = Certification(
    task="loans",
    certificates=(Certificate(stratum="variant", target=TARGET, audits=12, audits_missing=33),),
)


def test_a_certificate_is_shown_as_it_is_in_force() -> None:
    shown = Metrics(list_certifications=lambda: [LIVE]).render_text()

    labels = {"route": "cards", "stratum": "new", "target": "0.05/0.1"}
    expected = {
        "alpha": 0.05, "delta": 0.1, "threshold": 0.8, "coverage": 0.7,
        "version": 3, "audits": 400, "epoch": 0, "expires_at": 9.0,
    }  # fmt: skip
    assert {name: value(shown, f"stepdown_certificate_{name}", **labels) for name in expected} == expected
    assert value(shown, "stepdown_certificate_stage", stage="live", **labels) == 1
    assert value(shown, "stepdown_certificate_stage", stage="alarm", **labels) == 0


def test_what_does_not_exist_has_no_sample() -> None:
    """A threshold of 0 would read as "everything is served"."""
    shown = Metrics(list_certifications=lambda: [YOUNG]).render_text().decode()

    assert "stepdown_certificate_threshold{" not in shown
    assert (
        'stepdown_certificate_audits_missing{route="loans",stratum="variant",target="0.05/0.1"} 33.0' in shown
    )


def test_certifications_are_read_at_each_collection() -> None:
    certifications = [YOUNG]
    metrics = Metrics(list_certifications=lambda: certifications)
    metrics.render_text()

    certifications[:] = [LIVE]

    assert value(metrics.render_text(), "stepdown_certificate_threshold") == 0.8


def test_certificates_beyond_the_bound_are_left_out_and_serving_ones_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certificates, "MAX_CERTIFICATES", 1)

    shown = Metrics(list_certifications=lambda: [YOUNG, LIVE]).render_text().decode()

    assert 'route="cards"' in shown
    assert 'route="loans"' not in shown
