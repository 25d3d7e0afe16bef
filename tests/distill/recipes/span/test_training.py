from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.distill.checkpoints import Checkpoint
from gateway.distill.recipes.span.dataset import build_dataset
from gateway.distill.recipes.span.network import name_outputs, new_network, trained_weights
from gateway.distill.recipes.span.training import Hyperparameters, fit_tagger
from gateway.distill.saved_students import SavedStudent
from gateway.specialists.encoders.minilm import build_tokenizer

torch = pytest.importorskip("torch", reason="needs the extra `learn`")
pytestmark = pytest.mark.learn

WORDS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon")
TEXTS = [
    f"call {word} now" for word in ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon"]
]
DATASET = build_dataset(TEXTS, [f'{{"who":"{text.split()[1]}"}}' for text in TEXTS], build_tokenizer(), 64)


class Killed(Exception):
    """The learner ended in the middle."""


def test_a_killed_training_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = new_network(DATASET.grammar, None, 0)
    fit(whole, Checkpoint(tmp_path / "a", "k"))

    def die() -> float:
        died.append(1)
        if len(died) == 2:
            raise Killed
        return 0.0

    died: list[int] = []
    with pytest.raises(Killed):
        fit(new_network(DATASET.grammar, None, 0), Checkpoint(tmp_path / "b", "k"), die)
    again = new_network(DATASET.grammar, None, 0)
    fit(again, Checkpoint(tmp_path / "b", "k"))

    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def test_progress_of_another_training_is_ignored(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "p", "one").save({"done": 1})
    assert Checkpoint(tmp_path / "p", "two").load() is None
    assert Checkpoint(tmp_path / "p", "one").load() == {"done": 1, "key": "one"}


def test_a_damaged_file_only_costs_time(tmp_path: Path) -> None:
    progress = Checkpoint(tmp_path / "p", "k")
    progress.save({"done": 1})
    (tmp_path / "p").write_bytes((tmp_path / "p").read_bytes()[:99])
    assert progress.load() is None
    (tmp_path / "p").write_bytes(b"")
    assert progress.load() is None


def test_the_pass_which_agreed_best_is_kept(tmp_path: Path) -> None:
    network = new_network(DATASET.grammar, None, 0)
    seen = []

    def worse_and_worse() -> float:
        seen.append(trained_weights(network)["tags.weight"])
        return 1.0 / len(seen)

    fit(network, Checkpoint(tmp_path / "p", "k"), worse_and_worse, rate=1e-3)
    assert torch.equal(network.state_dict()["tags.weight"], seen[0])


def test_a_new_field_leaves_what_the_others_learned() -> None:
    old = new_network(DATASET.grammar, None, 0)
    wider = build_dataset(
        TEXTS,
        [f'{{"a":"call","who":"{text.split()[1]}"}}' for text in TEXTS],
        build_tokenizer(),
        64,
    ).grammar
    saved = SavedStudent(
        purpose="version",
        number=1,
        base="",
        learned=frozenset(),
        weights=trained_weights(old),
        outputs=name_outputs(DATASET.grammar),
    )
    new = new_network(wider, saved, 1)
    assert wider.tags == DATASET.grammar.tags + 2
    # The new field comes first, so that the old one's rows move.
    assert torch.equal(new.tags.weight[3:5], old.tags.weight[1:3])
    assert torch.equal(new.tags.weight[0], old.tags.weight[0])


def fit(
    network: object, checkpoint: Checkpoint, measure: Callable[[], float] = lambda: 0.0, rate: float = 1e-4
) -> None:
    """Train `network` on the dataset for two passes."""
    fit_tagger(
        network,
        DATASET.grammar,
        DATASET.targets,
        Hyperparameters(2, rate, seed=0),
        measure=measure,
        checkpoint=checkpoint,
    )
