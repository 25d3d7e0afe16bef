"""The stores that the learner reads and writes."""

from __future__ import annotations

import msgspec

from gateway.harvest.reader import HarvestReader
from gateway.registry.models import Registry
from gateway.store.certifications import CertificationStore
from gateway.store.imports import ImportLog
from gateway.store.pins import PinStore
from gateway.store.reviews import ReviewStore
from gateway.store.tasks import TaskStore
from gateway.store.templates import TemplateStore


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner reads and writes."""

    harvest: HarvestReader
    registry: Registry
    certifications: CertificationStore
    tasks: TaskStore
    templates: TemplateStore
    reviews: ReviewStore
    pins: PinStore
    imports: ImportLog

    def refresh(self) -> None:
        """Read what other processes wrote; may block."""
        self.certifications.refresh()
        self.tasks.refresh()
        self.templates.refresh()
