"""A data set can be trusted: no evidence in it, no text on both sides, the same again when repeated."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.harvest.base import Row
from gateway.harvest.dataset import Selected, select_rows, split_of, write_dataset
from gateway.harvest.formats import openai
from gateway.harvest.near_copies import NearCopies

MakeRow = Callable[..., Row]
WORDS = [
    "card",
    "fee",
    "loan",
    "cash",
    "rate",
    "bank",
    "euro",
    "bill",
    "debt",
    "fund",
    "gold",
    "note",
    "sale",
    "loss",
    "gain",
    "rent",
]


@pytest.fixture
def rows(row: MakeRow) -> list[Row]:
    """Three hundred different questions, the fifth of them evidence."""
    draw = random.Random(7)
    return [
        row(
            request_id=f"req-{n}",
            at=float(n),
            text=" ".join(draw.choices(WORDS, k=14)),
            answer=draw.choice(["yes", "no"]),
            is_held_out=n % 5 == 0,
        )
        for n in range(300)
    ]


def select(rows: list[Row], as_of: float = 1e9) -> Selected:
    return select_rows(rows, as_of, 0.2)


def write(folder: Path, rows: list[Row], as_of: float = 1e9) -> dict[str, bytes]:
    folder.mkdir()
    write_dataset(folder, openai, "openai", select(rows, as_of), as_of)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_evidence_is_in_no_split(rows: list[Row]) -> None:
    selected = select(rows)

    assert selected.held_out == 60
    assert not any(member.row.is_held_out for member in selected.members)


def test_the_shares_are_about_those_asked_for(rows: list[Row]) -> None:
    splits = [member.split for member in select(rows).members]

    assert 0.1 < splits.count("validation") / len(splits) < 0.3


def test_near_copies_are_of_one_split(row: MakeRow, rows: list[Row]) -> None:
    """Else a validation measures what was learnt by heart."""
    copies = [
        row(
            request_id=f"{each.request_id}-again",
            at=each.at + 1_000,
            text=f"{each.text} please",
            answer="other",
        )
        for each in rows
    ]

    members = select([*rows, *copies]).members
    splits = {member.row.request_id: member.split for member in members}

    both = [(splits[each], splits[f"{each}-again"]) for each in splits if f"{each}-again" in splits]
    assert len(both) > 200
    assert all(one == other for one, other in both)


def test_growth_moves_no_row_to_another_split(rows: list[Row]) -> None:
    """A model that was validated on a row must not be trained on it by the next export."""
    before = {member.row.request_id: member.split for member in select(rows[:150]).members}
    after = {member.row.request_id: member.split for member in select(rows).members}

    assert before.items() <= after.items()


def test_as_of_is_what_was_exported_then(rows: list[Row], tmp_path: Path) -> None:
    assert write(tmp_path / "then", rows[:150], as_of=149.0) == write(tmp_path / "now", rows, as_of=149.0)


def test_repeated_it_is_the_same_to_the_byte(rows: list[Row], tmp_path: Path) -> None:
    """Whatever the order in which workers wrote."""
    shuffled = random.Random(1).sample(rows, len(rows))

    assert write(tmp_path / "one", rows) == write(tmp_path / "two", shuffled)


def test_the_hashes_are_those_of_the_files(rows: list[Row], tmp_path: Path) -> None:
    files = write(tmp_path / "set", rows)

    listed = files.pop("SHA256SUMS").decode().splitlines()
    assert listed == [f"{hashlib.sha256(files[name]).hexdigest()}  {name}" for name in sorted(files)]


def test_the_lineage_names_every_row(rows: list[Row], tmp_path: Path) -> None:
    files = write(tmp_path / "set", rows)

    lineage = [json.loads(line) for line in files["lineage.jsonl"].splitlines()]
    for split in ("train", "validation"):
        assert len(files[f"{split}.jsonl"].splitlines()) == sum(each["split"] == split for each in lineage)
    assert {"request_id", "tenant", "policy", "model", "cluster"} <= lineage[0].keys()


def test_the_card_says_what_the_rows_cannot_tell(rows: list[Row], tmp_path: Path) -> None:
    card = write(tmp_path / "set", rows)["README.md"].decode()

    assert "not a sample of the traffic" in card
    assert "60 rows are held out as evidence" in card
    assert "| yes |" in card


def test_a_copy_with_the_same_answer_is_left_out_and_one_with_another_stays(row: MakeRow) -> None:
    text = "where is the parcel with the number 17 that was sent last week"
    texts = [text, text.replace("17", "18"), text.replace("17", "19")]
    rows = [
        row(request_id=f"req-{n}", at=float(n), text=each, answer=answer)
        for n, (each, answer) in enumerate(zip(texts, ("here", "here", "there"), strict=True))
    ]

    selected = select(rows)

    assert [member.row.request_id for member in selected.members] == ["req-0", "req-2"]
    assert selected.copies == 1


def test_short_texts_are_copies_only_if_they_are_equal() -> None:
    near_copies = NearCopies()

    places = [near_copies.place(text) for text in ("yes", "no", "", "yes", "Yes!")]

    assert [place.copy_of for place in places] == [0, 1, 2, 0, 4]


def test_without_a_share_nothing_is_kept_for_validation() -> None:
    assert {split_of(f"req-{n}", 0.0) for n in range(100)} == {"train"}
