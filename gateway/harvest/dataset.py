"""A data set: a folder with splits, card, lineage and hashes that a trainer and an auditor can rely on."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from gateway.harvest.base import Format, Row
from gateway.harvest.card import CardFacts, write_card
from gateway.harvest.near_copies import NearCopies

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


class Member(msgspec.Struct, frozen=True):
    """A row of the data set, and where it went."""

    row: Row
    split: Split
    cluster: str
    """The request that founded its cluster."""


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a data set and what was left out."""

    members: list[Member]
    held_out: int
    copies: int


def select_rows(rows: Iterable[Row], as_of: float, validation_share: float) -> Selected:
    """Return what the harvest held at `as_of` (unix seconds), without evidence and near copies.

    Rows with nearly the same text are of one cluster, and a cluster is of one split, by the hash of
    the request that founded it: later rows move no earlier one. A near copy with the same answer is left out.
    """
    known = sorted((row for row in rows if row.at <= as_of), key=lambda row: (row.at, row.request_id))
    usable = [row for row in known if not row.is_held_out]
    near_copies: dict[str, NearCopies] = {}
    numbered: dict[str, list[Row]] = {}
    members, copies = [], 0
    for row in usable:
        peers = numbered.setdefault(row.task, [])
        place = near_copies.setdefault(row.task, NearCopies()).place(row.text)
        peers.append(row)
        original = peers[place.copy_of]
        if original is not row and (original.answer, original.reply) == (row.answer, row.reply):
            copies += 1
            continue
        founder = peers[place.cluster].request_id
        members.append(Member(row, split_of(founder, validation_share), founder))
    return Selected(members=members, held_out=len(known) - len(usable), copies=copies)


def split_of(founder: str, validation_share: float) -> Split:
    """Return the split of the cluster that the request `founder` began."""
    digest = hashlib.blake2b(founder.encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest) / 2**64 < validation_share else "train"


def write_dataset(
    folder: Path, form: Format, name: str, selected: Selected, as_of: float
) -> dict[Split, int]:
    """Write the data set into an empty `folder` and return how many rows each split has.

    The same rows give the same bytes: nothing in it tells when or where it was written. Raises ConfigError.
    """
    contents: dict[str, bytes] = {}
    written: dict[Split, int] = {}
    for split in SPLITS:
        rows = [member.row for member in selected.members if member.split == split]
        stream = io.BytesIO()
        written[split] = form.write(rows, stream)
        contents[f"{split}{form.SUFFIX}"] = stream.getvalue()
    contents["lineage.jsonl"] = _render_lineage(selected.members)
    contents["README.md"] = write_card(_collect_facts(name, form, selected, written, as_of)).encode()
    contents["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in sorted(contents.items())
    ).encode()
    for file, content in contents.items():
        path = folder / file
        path.touch(mode=0o600)
        path.write_bytes(content)
    return written


def _render_lineage(members: Sequence[Member]) -> bytes:
    """Return a line for each row: which request it was, of whom, under which policy, and its cluster."""
    lines = []
    for member in members:
        row = member.row
        facts = {
            "request_id": row.request_id,
            "at": row.at,
            "split": member.split,
            "cluster": member.cluster,
            "task": row.task,
            "tenant": row.tenant,
            "policy": row.policy,
            "model": row.model,
            "template": row.template,
        }
        lines.append(msgspec.json.encode(facts) + b"\n")
    return b"".join(lines)


def _collect_facts(
    name: str, form: Format, selected: Selected, written: dict[Split, int], as_of: float
) -> CardFacts:
    rows = [member.row for member in selected.members]
    return CardFacts(
        format=name,
        suffix=form.SUFFIX,
        as_of=as_of,
        splits={split: written[split] for split in SPLITS},
        clusters=len({member.cluster for member in selected.members}),
        tasks=Counter(row.task for row in rows),
        models=Counter(row.model for row in rows),
        answers=Counter(row.answer for row in rows if row.answer and not row.reply),
        held_out=selected.held_out,
        copies=selected.copies,
        left_out=len(rows) - sum(written.values()),
        why_left_out=form.LEFT_OUT,
    )
