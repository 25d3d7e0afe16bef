"""What becomes of the versions of a home whose encoder is another one now."""

from __future__ import annotations

import msgspec

from gateway.core import Certification
from gateway.registry.manifest import Manifest
from gateway.specialists.base import Encoder


def describe_other_encoder(manifest: Manifest, encoder: Encoder) -> str:
    """Return why a version cannot serve beside `encoder`; empty if it was trained on its vectors."""
    if manifest.encoder == encoder.name:
        return ""
    return f"version {manifest.version} was trained on {manifest.encoder}, this machine runs {encoder.name}"


def without_version(certification: Certification, why: str) -> Certification:
    """Return `certification` with no version that drafts, and nothing in force.

    Attempts, dates and suspicions stay: what the teacher answered is evidence for the next version, too.
    """
    certificates = tuple(
        msgspec.structs.replace(each, stage="shadow", threshold=None, tentative=None, note=why)
        for each in certification.certificates
    )
    return msgspec.structs.replace(certification, version=None, deferral=None, certificates=certificates)
