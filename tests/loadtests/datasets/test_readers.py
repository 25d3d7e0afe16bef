from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.datasets import read_data

TWICE = '{"BookRestaurant": [{"data": [{"text": "a "}, {"text": "thai", "entity": "kind"}, %s]}]}'


def test_a_slot_filled_twice_is_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "snips_slots" / "BookRestaurant"
    folder.mkdir(parents=True)
    train, validate = folder / "train_BookRestaurant_full.json", folder / "validate_BookRestaurant.json"
    train.write_text(TWICE % '{"text": " diner", "entity": "kind"}')
    validate.write_text(TWICE % '{"text": " place"}')

    pairs = read_data(tmp_path / "snips_slots", 0, task="json").pairs

    assert {pair.text: pair.answer for pair in pairs} == {
        "a thai diner": '{"intent": "BookRestaurant", "slots": {"kind": ["thai", "diner"]}}',
        "a thai place": '{"intent": "BookRestaurant", "slots": {"kind": "thai"}}',
    }


def test_entities_are_named_once_in_the_order_of_the_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "biomed_ner" / "BC5CDR-IOB"
    folder.mkdir(parents=True)
    lines = [
        "heart\tB-Disease",
        "attack\tI-Disease",
        "by\tO",
        "iron\tB-Chemical",
        "or\tO",
        "iron\tB-Chemical",
    ]
    (folder / "train.tsv").write_text("\n".join(lines) + "\n\n\n")
    for split in ("devel", "test"):
        (folder / f"{split}.tsv").write_text("fine\tO\n")

    pairs = read_data(tmp_path / "biomed_ner", 0).pairs

    assert {pair.text: pair.answer for pair in pairs} == {
        "heart attack by iron or iron": '{"Chemical": ["iron"], "Disease": ["heart attack"]}',
        "fine": '{"Chemical": [], "Disease": []}',
    }


def test_a_headline_stands_without_its_frame(tmp_path: Path) -> None:
    folder = tmp_path / "gold_headlines"
    folder.mkdir()
    (folder / "train.csv").write_text('"Q: gold up\nA:",up,1\n')
    (folder / "test.csv").write_text("")
    assert [(pair.text, pair.answer) for pair in read_data(folder, 0).pairs] == [("gold up", "up")]


def test_unknown_data_are_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="snips_slots:json"):
        read_data(tmp_path, 0)
