"""The review of a harvest: which answers to look at first, and what becomes of what reviewers say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import Workspace
from gateway.distill.curate import curate
from gateway.distill.recipes import head
from gateway.distill.suspects import find_suspects
from gateway.distill.verdicts import apply_verdicts, key_of, verdict_on
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.processes.building import open_resources
from gateway.processes.harvest_access import open_harvest
from gateway.settings import Settings
from gateway.store.home import read_audit_key
from gateway.store.reviews import Feedback, Verdict
from gateway.store.state import State
from gateway.wire.replies import parse_reply_calls
from gateway.wire.tool_calls import CALL_BEGIN, parse_tool_calls

_CALL = f'{CALL_BEGIN}{{"name": "look_up", "arguments": {{"id": 7}}}}</tool_call>'
Source = Literal["feedback", "suspected"]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a reviewer, who does not learn which candidate is the teacher's."""

    request_id: str
    task: str
    source: Source
    text: str
    candidates: tuple[str, ...]
    """The answers that were given or proposed, each once, in an order that tells nothing."""


class Ruling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reviewer says of one request: the right answer, or that nothing may be learnt from it."""

    request_id: str
    answer: str | None = None
    exclude: bool = False

    def __post_init__(self) -> None:
        """Refuse a ruling that says nothing, or two things."""
        if (self.answer is None) is not self.exclude:
            raise ValueError('give either "answer" or "exclude": true')
        if self.answer is not None and not self.answer.strip():
            raise ValueError('"answer" is blank; "exclude": true says that nothing may be learnt')


def create_student() -> head.HeadRecipe:
    """Return the recipe of the students that are asked for their opinion.

    Its solver stops early: a third of the time, and the same errors come first on three data sets.
    """
    return head.create(head.Config(tolerance=1e-3, max_iterations=30))


class Review:
    """The lessons of some tasks as they wait for reviewers. Every method may block, `list_items` for seconds.

    Verdicts reach training at once and evidence never: certificates speak of the teacher.
    """

    def __init__(self, settings: Settings, state: State, tasks: Sequence[str] = ()) -> None:
        """Raises ConfigError for a task without rows."""
        self._settings = settings
        self._state = state
        self._harvest = open_harvest(settings)
        known = sorted(self._harvest.counts())
        if unknown := [task for task in tasks if task not in known]:
            raise ConfigError(f"no rows of task '{unknown[0]}'; known: {', '.join(known) or 'none yet'}")
        self.tasks = list(tasks) or known
        self._key = read_audit_key(settings.home)
        self._rows: dict[str, Row] = {}

    def list_items(self) -> list[Item]:
        """Return what no verdict speaks of yet: what apps complained of first, then suspected errors.

        What is neither is not listed.
        """
        said = self._read_feedback()
        complaints: list[Item] = []
        suspected: list[tuple[float, Item]] = []
        with tempfile.TemporaryDirectory(prefix="stepdown-review-") as scratch:
            workspace = self._create_workspace(Path(scratch))
            for task in self.tasks:
                undecided, lessons = self._read(task)
                found = list(self._list_complaints(undecided.values(), said))
                complaints += found
                seen = {item.request_id for item in found}
                for suspect in find_suspects(lessons, create_student(), workspace):
                    row = undecided.get(suspect.row.request_id)
                    if row is not None and row.request_id not in seen:
                        item = self._item(row, "suspected", row.answer, suspect.alternative)
                        suspected.append((suspect.doubt, item))
        suspected.sort(key=lambda pair: -pair[0])
        return complaints + [item for _, item in suspected]

    def count_lost(self) -> int:
        """Return how many requests apps complained of whose text nothing holds any more, of all tasks.

        Of which task they were is not known either.
        """
        complained = {one.request_id for one in self._read_feedback().values() if one.is_complaint}
        return len(complained - self._harvest.find_kept(sorted(complained)))

    def decide(self, rulings: Sequence[Ruling]) -> list[Verdict]:
        """Keep what reviewers say; return the verdicts as they are kept.

        Raises ConfigError for an unknown request, or what looks like a tool call and is none.
        """
        verdicts = []
        for ruling in rulings:
            _refuse_broken_call(ruling)
            row = self._rows.get(ruling.request_id) or self._find(ruling.request_id)
            verdicts.append(verdict_on(row, ruling.answer))
        return self._state.reviews.put(verdicts)

    def undo(self, given: Verdict | None = None) -> Verdict | None:
        """Take back the latest verdict on these tasks, or the one `given`; return it, None without one."""
        return self._state.reviews.undo(self.tasks, given)

    def _read(self, task: str) -> tuple[dict[str, Row], list[Row]]:
        """Return the rows of `task` without a verdict by request, and its lessons as reviewers left them."""
        verdicts = self._state.reviews.verdicts(task)
        decided = {(verdict.text_hash, verdict.answer_hash) for verdict in verdicts}
        rows = self._harvest.rows(task, newest=self._settings.learn.max_rows).rows
        undecided = {row.request_id: row for row in rows if key_of(row) not in decided}
        self._rows |= undecided
        lessons = [row for row in apply_verdicts(rows, verdicts) if row.is_lesson and not row.is_held_out]
        return undecided, curate(lessons).training

    def _read_feedback(self) -> dict[tuple[str, str], Feedback]:
        """Return the latest feedback by request and tenant: nobody has a say about another's requests."""
        return {(one.request_id, one.tenant): one for one in self._state.reviews.feedback()}

    def _list_complaints(
        self, rows: Iterable[Row], said: Mapping[tuple[str, str], Feedback]
    ) -> Iterator[Item]:
        for row in rows:
            feedback = said.get((row.request_id, row.tenant))
            if feedback and feedback.is_complaint:
                yield self._item(row, "feedback", row.answer, feedback.answer, row.draft)

    def _item(self, row: Row, source: Source, *answers: str) -> Item:
        distinct = {canonical_text(answer): answer for answer in reversed(answers) if answer.strip()}
        candidates = sorted(distinct.values(), key=lambda answer: self._draw(row.request_id, answer))
        return Item(
            request_id=row.request_id,
            task=row.task,
            source=source,
            text=row.text,
            candidates=tuple(candidates),
        )

    def _draw(self, request_id: str, answer: str) -> bytes:
        said = f"{request_id} {answer}".encode("utf-8", "surrogatepass")
        return blake2b(said, digest_size=8, key=self._key[:64]).digest()

    def _find(self, request_id: str) -> Row:
        rows = [row for row in self._harvest.find(request_id) if row.task in self.tasks]
        if not rows:
            raise ConfigError(f"no row of request '{request_id[:64]}' in the harvest")
        return rows[-1]

    def _create_workspace(self, folder: Path) -> Workspace:
        resources = open_resources(self._settings)
        return Workspace(folder=folder, seed=self._settings.learn.seed, resources=resources)


def _refuse_broken_call(ruling: Ruling) -> None:
    answer = ruling.answer or ""
    is_broken = answer.lstrip().startswith(CALL_BEGIN) and not parse_tool_calls(answer)
    # A message's `tool_calls` would be learnt as a text.
    if is_broken or parse_reply_calls(answer):
        raise ConfigError(f"request '{ruling.request_id[:64]}': no tool call; one looks like {_CALL}")
