from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.distill.export_encoder import export_encoder
from gateway.errors import SpecialistError, TrainingError
from gateway.specialists.encoders import onnx_folder

pytestmark = pytest.mark.learn

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "where",
    "is",
    "my",
    "card",
    "refund",
    "please",
    "lost",
]
TEXTS = ["where is my card", "refund please", "lost", "my card is lost please refund my card"]


def tiny_bert(folder: Path, pooling: str = "mean") -> Any:
    """Save a random BERT of two small layers as a sentence-transformers model and return it."""
    torch = pytest.importorskip("torch", reason="needs the extra `learn`")
    st = pytest.importorskip("sentence_transformers", reason="needs the extra `learn`")
    from sentence_transformers.sentence_transformer import modules as models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    parts = folder / "parts"
    parts.mkdir(parents=True)
    (parts / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(parts)
    BertTokenizerFast(str(parts / "vocab.txt")).save_pretrained(parts)
    body = models.Transformer(str(parts))
    model = st.SentenceTransformer(
        modules=[body, models.Pooling(32, pooling), models.Normalize()], device="cpu"
    )
    model.save(str(folder / "model"))
    return model


# torch and transformers warn about their own code while they export.
@pytest.mark.filterwarnings("ignore")
def test_an_exported_encoder_serves_the_same_vectors(tmp_path: Path) -> None:
    """Weights of int8 change a vector a little, but not its direction."""
    original = tiny_bert(tmp_path)

    export_encoder(str(tmp_path / "model"), tmp_path / "exported")

    encoder = onnx_folder.create(onnx_folder.Config(folder=str(tmp_path / "exported"), max_tokens=16))
    assert encoder.dimension == 32
    for text in TEXTS:
        cosine = float(np.dot(original.encode(text), encoder.encode(text)))
        assert cosine >= 0.99
    with pytest.raises(SpecialistError, match="input too long"):
        encoder.encode("card " * 30)


@pytest.mark.filterwarnings("ignore")
def test_another_pooling_is_refused_rather_than_changed(tmp_path: Path) -> None:
    tiny_bert(tmp_path, pooling="cls")
    with pytest.raises(TrainingError, match="mean"):
        export_encoder(str(tmp_path / "model"), tmp_path / "exported")
