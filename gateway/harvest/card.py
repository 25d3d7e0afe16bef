"""The card of a data set: what is in it, where it came from, and how far it may be trusted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

_MOST_ANSWERS = 20
_LONGEST_ANSWER = 60

BIAS = """\
These are **escalations**, requests that the teacher answered; beside them what was imported or asked again
and what a reviewer made of local answers, if there is any. They are not a sample of the traffic.

- Once a specialist serves, what it answers surely is missing here, and what it is unsure of is
  over-represented. A figure measured on these rows says nothing about the traffic as a whole.
- Audits are the unbiased sample: a coin chose them, whatever the specialist said. They are held out as
  evidence for certificates and are in no split. Training on them voids those certificates.
- The answers are the teacher's, its mistakes included, but for those that a reviewer corrected or excluded
  (`stepdown harvest review`).
- Refusals, filtered answers and answers that were cut are left out: a student learns to answer, not when
  to refuse.
- Requests that their client, key or policy forbade to keep, and rows past their time, are not here.
"""


class CardFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a card says."""

    format: str
    suffix: str
    as_of: float
    splits: Mapping[str, int]
    clusters: int
    tasks: Counter[str]
    models: Counter[str]
    answers: Counter[str]
    held_out: int
    copies: int
    left_out: int
    why_left_out: str


def write_card(facts: CardFacts) -> str:
    """Return the card as Markdown, with the head by which `datasets` finds the splits."""
    return "\n".join([*_head(facts), *_body(facts)])


def _head(facts: CardFacts) -> Iterator[str]:
    # An empty file cannot be loaded, so a split without rows is not named.
    yield from ("---", "configs:", "- config_name: default", "  data_files:")
    for split, rows in facts.splits.items():
        if rows:
            yield from (f"  - split: {split}", f"    path: {split}{facts.suffix}")
    yield from ("---", "")


def _body(facts: CardFacts) -> Iterator[str]:
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(facts.as_of))
    sizes = ", ".join(f"{split} {rows:,}" for split, rows in facts.splits.items())
    yield from (f"# Harvest as of {day}", "", f"Format `{facts.format}`; rows: {sizes}.", "")
    yield from ("## How it was made", "")
    yield f"- {facts.clusters:,} clusters of nearly the same text; a cluster is of one split, for ever."
    yield f"- {facts.copies:,} near copies with the same answer were left out; the oldest of each stays."
    yield f"- {facts.held_out:,} rows are held out as evidence and not here."
    yield f"- {facts.left_out:,} rows were left out: those {facts.why_left_out}."
    yield from ("- `lineage.jsonl` names each row's request; `sha256sum -c SHA256SUMS` checks the files.", "")
    yield from ("## Teachers and tasks", "", *_table("model", facts.models), *_table("task", facts.tasks))
    yield from ("## Balance of answers", "", *_balance(facts.answers))
    yield from ("## Bias", "", BIAS)


def _balance(answers: Counter[str]) -> Iterator[str]:
    short = Counter({text: count for text, count in answers.items() if len(text) <= _LONGEST_ANSWER})
    if not short or len(short) > max(_MOST_ANSWERS, answers.total() // 4):
        yield from (f"{len(answers):,} different texts: no classes.", "")
        return
    yield from _table("answer", short)


def _table(name: str, counts: Counter[str]) -> Iterator[str]:
    yield from (f"| {name} | rows |", "|---|---|")
    # By name where counts are equal: the same rows give the same card.
    for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_ANSWERS]:
        shown = value.replace("|", "\\|").replace("\n", " ")
        yield f"| {shown} | {count:,} |"
    yield ""
