from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.base_models.dequantize import load_student
from gateway.distill.base_models.pull import pull_base
from gateway.distill.base_models.quantization import build_quantized
from gateway.distill.checkpoints import Checkpoint
from gateway.distill.recipes.lora_sft import recipe
from gateway.distill.recipes.lora_sft import training as training_module
from gateway.distill.recipes.lora_sft.adapter import convert_adapter
from gateway.distill.recipes.lora_sft.dataset import TokenizedRow, digest_rows
from gateway.distill.recipes.lora_sft.peft_export import export_peft
from gateway.distill.recipes.lora_sft.student import SCALE, Student
from gateway.distill.recipes.lora_sft.training import TrainingPlan, train_adapter
from gateway.distill.saved_students import SavedStudent
from gateway.errors import TrainingError
from gateway.registry.models import Registry
from gateway.specialists.base import NullListener
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.remote.adapters import CARD, WEIGHTS
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import genai, openai
from gateway.specialists.shared_resources import SharedResources
from tests.distill.base_models.onnx_logits import logits_of
from tests.distill.base_models.tiny import write_checkpoint
from tests.specialists.hosting import FlatEncoder
from tests.support.model_server import model_server

CONFIG = recipe.Config(base="tiny", learning_rate=5e-3)
ROWS = [[1, 30, 40, 50, 60, 70, 2], [1, 80, 90, 2]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bases with the one called "tiny"; only read."""
    pytest.importorskip("peft", reason="needs the extra `learn`")
    folder = tmp_path_factory.mktemp("lora")
    checkpoint = write_checkpoint(folder / "checkpoint")
    _make_end_predictable(checkpoint)
    build_quantized(checkpoint, "k_quant_mixed8", folder / "ready")
    (folder / "ready" / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    pull_base(str(folder / "ready"), "tiny", Registry(folder / "models"), lambda _: None)
    return folder / "models"


@pytest.fixture(scope="module")
def base(models: Path) -> Path:
    return Registry(models).folder("tiny", 1)


@pytest.fixture
def workspace(models: Path, tmp_path: Path) -> Iterator[Workspace]:
    engines = EnginePool(models, 1024)
    yield bench_of(tmp_path, engines)
    engines.close()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wait for each other longer than so small a model computes."""
    monkeypatch.setattr(training_module, "_THREADS", 1)


def bench_of(folder: Path, engines: EnginePool) -> Workspace:
    return Workspace(folder=folder / "bench", seed=0, resources=SharedResources(FlatEncoder(), engines))


def _make_end_predictable(checkpoint: Path) -> None:
    """Give the end of a turn an embedding; as the padding of a new model it is all zeros."""
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    weights["model.embed_tokens.weight"][2] = -weights["model.embed_tokens.weight"][3]
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})


def training_rows(rows: int, start: int = 0) -> TrainingSet:
    """Return rows about cards and orders, which have an answer each."""
    draw = random.Random(start)
    texts = [f"{draw.choice(('card', 'order'))} number {n}" for n in range(start, start + rows)]
    return TrainingSet(texts, ["lost" if "card" in text else "refund" for text in texts])


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_a_student_learns_and_goes_on_where_it_was(workspace: Workspace, tmp_path: Path) -> None:
    """One test, as it takes seconds: validate, train on from there, serve, and validate again."""
    lora, training, validation = recipe.create(CONFIG), training_rows(640), training_rows(60, start=1000)

    validated = lora.validate(training, validation, workspace)
    assert len(validated.drafts) == 60
    assert sum(validated.losses) <= 6

    folder = tmp_path / "version"
    folder.mkdir()
    both = TrainingSet([*training.texts, *validation.texts], [*training.answers, *validation.answers])
    report = lora.train(both, folder, workspace)
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter.onnx_adapter",
        "genai.json",
        "neighbors.npy",
    ]
    assert (report.rows, report.answers) == (700, 2)
    assert report.metrics["agreement_before_quantization"] >= 0.9
    assert report.metrics["agreement"] >= 0.9
    assert genai.read_card(folder).hold_back is None

    served = genai.create(folder, workspace.resources)
    assert served.draft(DraftRequest(text="card number 2345"), NullListener()).text == "lost"
    assert served.draft(DraftRequest(text="order number 2345"), NullListener()).text == "refund"

    # The published student has learned the validation rows; the validated ones never have.
    again = lora.validate(training, validation, workspace)
    assert again.losses == validated.losses


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_computes_in_the_serving_base_what_it_did_in_training(base: Path) -> None:
    """All seven projections of it; what is left is rounding: weights to bfloat16, activations to 8 bits."""
    import torch

    student = Student(base, 16, seed=0)
    torch.manual_seed(1)
    untrained = logits_of(base / "model.onnx", ROWS)
    with torch.no_grad():
        for weights in student.trained:
            weights.copy_(torch.randn_like(weights) * 0.1)
        ids = torch.tensor([row + [0] * (7 - len(row)) for row in ROWS])
        mask = torch.tensor([[1] * len(row) + [0] * (7 - len(row)) for row in ROWS])
        trained = student.model.float()(input_ids=ids, attention_mask=mask).logits

    served = logits_of(base / "model.onnx", ROWS, **convert_adapter(student.copy_weights(), SCALE))

    for row, numbers, before, after in zip(ROWS, trained, untrained, served, strict=True):
        last = numbers[len(row) - 1].numpy()
        assert np.corrcoef(after[-1], last)[0, 1] > 0.995
        assert np.corrcoef(before[-1], last)[0, 1] < 0.9


class Killed(Exception):
    """What a test ends a training with."""


class Doomed(Checkpoint):
    """A checkpoint whose process is killed right after the first time it was written."""

    def save(self, saved: dict[str, Any]) -> None:
        super().save(saved)
        raise Killed


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_a_killed_training_ends_as_one_which_was_not(base: Path, tmp_path: Path) -> None:
    import torch

    draw = random.Random(0)
    rows = [TokenizedRow([1, draw.randrange(4, 300)], [draw.randrange(4, 300), 2], str(n)) for n in range(64)]
    plan = TrainingPlan(
        new=rows[8:],
        learned=[],
        validation=rows[:8],
        rate=1e-2,
        batch_rows=8,
        passes=2,
        replayed=0.0,
        seed=0,
        validate_every=5,
    )
    whole = Student(base, 16, seed=0)
    train_adapter(whole, plan, Checkpoint(tmp_path / "whole", "key"))

    with pytest.raises(Killed):
        train_adapter(Student(base, 16, seed=0), plan, Doomed(tmp_path / "cut", "key"))
    resumed = Student(base, 16, seed=0)
    train_adapter(resumed, plan, Checkpoint(tmp_path / "cut", "key"))

    for name, weights in whole.copy_weights().items():
        assert torch.equal(weights, resumed.copy_weights()[name]), name


def test_rows_that_a_student_has_learned_are_not_validated_on() -> None:
    rows = training_rows(10)
    learned = frozenset(digest_rows(rows.select(range(4))))
    student = SavedStudent(purpose="version", weights={}, learned=learned, base="", number=1)
    assert rows.select(student.find_unlearned(digest_rows(rows))).texts == rows.texts[4:]


def test_validation_rows_are_not_learned_by_later_versions() -> None:
    _, validation = recipe.split_validation(training_rows(700))
    later, _ = recipe.split_validation(training_rows(1400))
    assert validation.texts
    assert not set(validation.texts) & set(later.texts)


@pytest.mark.learn
def test_without_its_base_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra `learn`")
    workspace = bench_of(tmp_path, EnginePool(tmp_path / "models", 64))
    with pytest.raises(TrainingError, match="stepdown models pull"):
        recipe.create(CONFIG).train(training_rows(700), tmp_path, workspace)


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_a_few_rows_are_not_worth_a_decoder(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="40 rows; a decoder needs 600"):
        recipe.create(CONFIG).train(training_rows(40), tmp_path, workspace)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="lerning_rate"):
        msgspec.convert({"lerning_rate": 1.0}, recipe.Config)


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_a_student_for_an_engine_is_handed_over_and_judged_by_what_that_answers(
    models: Path, tmp_path: Path
) -> None:
    """The certificate rests on that server's drafts, whatever the student could do here."""
    prompter = Prompter(Registry(models).folder("tiny", 1))
    card = " ".join(map(str, prompter.encode_plain("card")))
    with model_server(lambda ids: "lost" if f" {card} " in ids else "refund") as server:
        config = EngineConfig(
            urls=(server.url,), model="small", adapters="vllm", adapters_folder=str(tmp_path / "shared")
        )
        engines, remote = EnginePool(models, 1024), RemoteEngines({"pool": config})
        resources = SharedResources(FlatEncoder(), engines, remote)
        workspace = Workspace(folder=tmp_path / "bench", seed=0, resources=resources)
        lora = recipe.create(msgspec.structs.replace(CONFIG, engine="pool", passes=1))
        folder = tmp_path / "version"
        folder.mkdir()
        report = lora.train(training_rows(640), folder, workspace)
        remote.close()

    assert lora.runtime == "openai"
    assert {CARD, WEIGHTS, openai.CARD} < {path.name for path in folder.iterdir()}
    assert openai.read_card(folder).has_adapter
    assert report.metrics["agreement"] == 1.0
    assert report.served_model.startswith("small")
    (name,) = server.script.loras
    assert {request["model"] for request in server.script.requests} == {name}


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_peft_loads_an_exported_adapter_as_it_was_in_training(base: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    student = Student(base, 16, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in student.trained:
            weights.copy_(torch.randn_like(weights) * 0.1)
        ids = torch.tensor(ROWS[:1])
        trained = student.model.float().eval()(input_ids=ids).logits

        export_peft(student.copy_weights(), 16, "tiny", tmp_path)
        loaded = PeftModel.from_pretrained(as_trained_on(base), str(tmp_path)).eval()(input_ids=ids)

    assert torch.allclose(trained, loaded.logits, atol=1e-3)
    assert not torch.allclose(trained, as_trained_on(base)(input_ids=ids).logits, atol=0.05)


def as_trained_on(base: Path) -> Any:
    """Return the base with its weights rounded as in training."""
    import torch

    return load_student(base).to(torch.bfloat16).float()
