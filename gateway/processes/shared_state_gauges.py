"""How this machine stands with those that share its state, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.registry import Collector

from gateway.sharing.contact import Contact
from gateway.sharing.outgoing import count_outgoing
from gateway.store.database import Database
from gateway.telemetry.gauges import ReadGauge


def create_shared_state_gauges(contact: Contact, database: Database) -> Iterator[Collector]:
    """Yield the gauges, which read when they are asked."""

    def gauge(name: str, text: str, read: Callable[[], float]) -> ReadGauge:
        return ReadGauge(f"stepdown_shared_state_{name}", text, (), lambda: [((), float(read()))])

    yield gauge("away", "1 while it cannot be reached.", lambda: not contact.is_connected)
    yield gauge("age_seconds", "Seconds since the last contact.", lambda: contact.age_s)
    yield gauge("machines", "Machines that share it.", lambda: contact.machines)
    yield gauge("writes_waiting", "Changes not yet sent.", lambda: count_outgoing(database))
