"""A task's certification as status reports show it: one line for the task, then each certificate."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core import STRATA, Certificate, Certification


def summarize_certification(certification: Certification, scope: str) -> dict[str, Any]:
    """Return the task's certificates, and above them the figures of the one that matters most.

    That is a live one, of new texts if possible; else the one for new texts.
    """
    lead = min(certification.certificates, key=_rank, default=None)
    return {
        "task": certification.task,
        "scope": scope,
        "stage": certification.stage,
        "version": certification.version,
        "epoch": certification.epoch,
        "threshold": lead.threshold if lead else None,
        "alpha": lead.target.alpha if lead else None,
        "delta": lead.target.delta if lead else None,
        "audits": lead.audits if lead else 0,
        "audits_missing": lead.audits_missing if lead else None,
        "coverage": lead.coverage if lead else 0.0,
        "note": certification.note or (lead.note if lead else ""),
        "certificates": [msgspec.to_builtins(each) for each in certification.certificates],
    }


def _rank(certificate: Certificate) -> tuple[bool, int, float]:
    stratum = STRATA.index(certificate.stratum)
    return certificate.stage != "live", stratum, certificate.target.alpha
