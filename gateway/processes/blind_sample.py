"""A blind sample of local answers: what the specialist and the teacher said to the same requests.

The sample is the audits whose draft passed the threshold: they were drawn by a coin before anybody knew the
draft, so they stand for what is served locally, and both answers are kept where policy and consent keep
content. A sample sees two answers without knowing whose they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from gateway.api.admin.models import SampleCounts, SampleItem, WholeReview
from gateway.confidence.agreement import measure_loss
from gateway.confidence.binomial import binomial_interval
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.reader import HarvestReader
from gateway.store.preferences import Preference, Verdict
from gateway.store.state import State

DAYS = 30
"""As long as every decision of an audit is kept."""
WHOLE = 100
"""Of each task's sample: enough to tell an error rate of 5 % from one of 15 %."""
CHOICES = ("a", "b", "same", "neither")


class BlindSample:
    """Reads the sample and keeps judgements. Every method may block."""

    def __init__(self, state: State, harvest: HarvestReader) -> None:
        self._state = state
        self._harvest = harvest

    def list_items(
        self, task: str | None, now: float, count: int, *, is_whole: bool = False
    ) -> list[SampleItem]:
        """Return the newest `count` that nobody has judged, of one task if it is named.

        They are what the two sides disagree on, or with `is_whole` the part that is to be judged whole.
        """
        judged = self._state.preferences.all()
        rows = [
            row
            for name in self._list_tasks(task)
            for row in self._list_candidates(name, now, is_whole=is_whole)
            if row.request_id not in judged
        ]
        rows.sort(key=lambda row: -row.at)
        return [self._to_item(row) for row in rows[:count]]

    def judge(self, request_id: str, choice: str, actor: str, now: float) -> Verdict:
        """Keep that `choice` of CHOICES is right, and return whose answer that is.

        Raises ConfigError for a request that is not in the sample.
        """
        for name in self._list_tasks(None):
            if any(row.request_id == request_id for row in self._sample(name, now)):
                break
        else:
            raise ConfigError(f"'{request_id}' is not in the sample; see `stepdown sample list`")
        verdict = _to_verdict(choice, is_local_first=_is_local_first(request_id))
        with self._state.trail.transaction():
            self._state.preferences.put(request_id, name, verdict, actor)
            self._state.trail.add(actor, "sample judge", request_id, verdict=verdict)
        return verdict

    def count_all(self, now: float) -> list[SampleCounts]:
        """Return the counts of each task that has a sample."""
        return [counts for task in self._list_tasks(None) if (counts := self._count(task, now)).sampled]

    def _count(self, task: str, now: float) -> SampleCounts:
        judged = self._state.preferences.all()
        rows = list(self._sample(task, now))
        differing = [row for row in rows if not _agree(row)]
        said = Counter(judged[row.request_id].verdict for row in rows if row.request_id in judged)
        return SampleCounts(
            task=task,
            name=self._state.tasks.names.of(task),
            sampled=len(rows),
            agreed=len(rows) - len(differing),
            waiting=sum(row.request_id not in judged for row in differing),
            local=said["local"],
            teacher=said["teacher"],
            same=said["same"],
            neither=said["neither"],
            whole=_review_whole([judged.get(row.request_id) for row in _draw_whole(rows)]),
        )

    def _list_candidates(self, task: str, now: float, *, is_whole: bool) -> list[Row]:
        rows = list(self._sample(task, now))
        return _draw_whole(rows) if is_whole else [row for row in rows if not _agree(row)]

    def _sample(self, task: str, now: float) -> Iterator[Row]:
        for row in self._harvest.held_out_rows(task, now - DAYS * 86_400):
            if row.draft and self._would_serve(row.request_id):
                yield row

    def _would_serve(self, request_id: str) -> bool:
        return any(record.would_serve for record in self._state.decisions.find(request_id))

    def _list_tasks(self, task: str | None) -> list[str]:
        return [task] if task is not None else sorted(self._harvest.counts())

    def _to_item(self, row: Row) -> SampleItem:
        first, second = row.draft, row.answer
        if not _is_local_first(row.request_id):
            first, second = second, first
        return SampleItem(
            request_id=row.request_id,
            task=row.task,
            name=self._state.tasks.names.of(row.task),
            at=row.at,
            text=row.text,
            a=first,
            b=second,
        )


def _draw_whole(rows: Iterable[Row]) -> list[Row]:
    """Return the random part of the sample that is judged whole, the same at each look."""

    def draw(row: Row) -> bytes:
        return blake2b(row.request_id.encode(), digest_size=8, person=b"whole").digest()

    return sorted(rows, key=draw)[:WHOLE]


def _review_whole(judged: Sequence[Preference | None]) -> WholeReview | None:
    """Return how often each side was wrong; None if nothing is judged."""
    said = Counter(one.verdict for one in judged if one)
    if not said:
        return None
    local_wrong, teacher_wrong = (said[other] + said["neither"] for other in ("teacher", "local"))
    return WholeReview(
        size=len(judged),
        judged=said.total(),
        local_wrong=local_wrong,
        teacher_wrong=teacher_wrong,
        local_interval=binomial_interval(local_wrong, said.total()),
        teacher_interval=binomial_interval(teacher_wrong, said.total()),
    )


def _agree(row: Row) -> bool:
    return measure_loss(row.answer, row.draft) == 0.0


def _is_local_first(request_id: str) -> bool:
    return blake2b(request_id.encode(), digest_size=1, person=b"sample").digest()[0] % 2 == 0


def _to_verdict(choice: str, *, is_local_first: bool) -> Verdict:
    if choice == "same":
        return "same"
    if choice == "neither":
        return "neither"
    return "local" if (choice == "a") == is_local_first else "teacher"
