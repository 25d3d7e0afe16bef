"""Whether this machine shares its state with the others, for people who ask by a command."""

from __future__ import annotations

from gateway.settings import Settings
from gateway.sharing.base import AwayError
from gateway.sharing.contact import read_contact_report
from gateway.sharing.valkey import Valkey


def count_machines(settings: Settings) -> int:
    """Return how many machines are there now.

    Raises AwayError with the reason why Valkey is not reached from here, or why the gateway that runs here
    does not share: it may be refused as the copy of another, though this command is not.
    """
    valkey = Valkey(settings.state)
    machines = int(valkey.call("HLEN", valkey.key("machines")))
    report = read_contact_report(settings.home)
    if settings.home.run_file.exists() and report.state == "away":
        raise AwayError(f"the gateway that runs here goes on alone: {report.why}")
    return machines
