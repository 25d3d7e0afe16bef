"""How often the supervisor started a process again, beside the sums of the workers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prometheus_client import Metric

from gateway.ipc.child_process import Child
from gateway.telemetry.shared_sums import SharedSums


class RestartCounter:
    """Shows the restarts by process; costs a comparison while none happened."""

    def __init__(self, sums: SharedSums) -> None:
        self._sums = sums
        self._shown: dict[str, int] = {}

    def show(self, children: Sequence[Child]) -> None:
        """Show the restarts of `children` by name, if they differ from what was shown last."""
        restarts = {child.plan.name: max(0, child.restarts) for child in children}
        if restarts == self._shown:
            return
        metric = Metric("stepdown_process_restarts", "Processes that were started again.", "counter")
        for process, count in restarts.items():
            metric.add_sample("stepdown_process_restarts_total", {"process": process}, count)
        # It is shown at once: no reader need wait for more.
        self._sums.publish([metric], as_of=math.inf)
        self._shown = restarts
