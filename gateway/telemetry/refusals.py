"""Refusals, counted by reason, key and policy, and logged once a minute per kind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from gateway.telemetry.capped_label import CappedLabel

logger = logging.getLogger(__name__)

COUNTED = frozenset({401, 403, 404, 413, 429, 503})
LOG_EVERY_S = 60.0
# Names of keys are the operator's own; reasons and policies too, but a bound costs nothing.
_MAX_VALUES = 200


class Refusals:
    """Counts what the gateway refuses; what a teacher refuses is counted with its answers."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._counter = Counter(
            "stepdown_refusals",
            "Requests that the gateway refused.",
            ("status", "reason", "key", "policy"),
            registry=registry,
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._reasons, self._keys, self._policies = (CappedLabel(_MAX_VALUES) for _ in range(3))
        self._recent: dict[tuple[int, str, str, str], int] = {}
        self._unlogged: dict[tuple[int, str], int] = {}
        self._logged_at: dict[tuple[int, str], float] = {}

    def count(self, status: int, reason: str, key: str, policy: str, times: int = 1, /) -> None:
        """Count a refusal, so many times; other errors are not counted. Never blocks."""
        if status not in COUNTED:
            return
        refusal = status, reason, key, policy
        with self._lock:
            self._recent[refusal] = self._recent.get(refusal, 0) + times
        self._log_kind((status, reason), key, policy, times)

    def update_registry(self) -> None:
        """Move what was counted to the registry."""
        with self._lock:
            recent, self._recent = self._recent, {}
        for (status, reason, key, policy), count in recent.items():
            labels = (
                self._reasons.cap_label(reason),
                self._keys.cap_label(key),
                self._policies.cap_label(policy),
            )
            self._counter.labels(str(status), *labels).inc(count)

    def _log_kind(self, kind: tuple[int, str], key: str, policy: str, times: int) -> None:
        count = self._unlogged[kind] = self._unlogged.get(kind, 0) + times
        now = self._clock()
        if now - self._logged_at.get(kind, float("-inf")) < LOG_EVERY_S:
            return
        self._logged_at[kind] = now
        self._unlogged[kind] = 0
        status, reason = kind
        last = ", ".join(f"{name} '{value}'" for name, value in (("key", key), ("policy", policy)) if value)
        logger.warning(
            "refused %d time%s since this was last said: %d %s%s",
            count,
            "" if count == 1 else "s",
            status,
            reason,
            f" (last: {last})" if last else "",
        )
