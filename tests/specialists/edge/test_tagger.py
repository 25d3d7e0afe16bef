"""A bundle's tagger answers as the host's does, number for number and letter for letter."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SpecialistError
from gateway.registry.models import Registry
from gateway.specialists import knn
from gateway.specialists.edge import tagger as edge
from gateway.specialists.edge.bundle import write_bundle
from gateway.specialists.encoders import minilm
from gateway.specialists.linear.features import feature_width
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes.tagger import runtime
from gateway.specialists.runtimes.tagger.decoding import decode_answer
from gateway.specialists.runtimes.tagger.grammar import Field, Grammar, Span, SpanType
from gateway.specialists.runtimes.tagger.option_head import OptionHead, write_option_head
from tests.specialists.edge.test_bundle import QUESTIONS, run
from tests.specialists.hosting import EXAMPLES, drafted, publish_trained, resources_of

CONSTANTS = (
    "null",
    "true",
    "3.50",
    "1e40",
    '"a \\u00e9, \\"b\\": {c}"',
    '"é\u2028"',
    "[]",
    "{}",
    '{"x":[1,{"y":"z"}]}',
)
WORDS = (
    "Oslo",
    "12",
    "-0.50",
    "1e9",
    "01",
    "1e999",
    '"',
    "\\",
    "\u0007",
    "naïve",
    "北京",
    "\x7f",
    "{",
    ", : ]",
)

constants = st.sampled_from(CONSTANTS)
keys = st.sampled_from(("a", "b", 'q"', "é"))
span_types = st.builds(
    SpanType,
    element=st.sampled_from(((), (("text", ""),), (("type", '"from"'), ("text", "")))),
    is_number=st.booleans(),
)
fields = st.builds(
    Field,
    path=st.lists(keys, max_size=2).map(tuple),
    choices=st.lists(st.one_of(constants, st.just("")), max_size=3, unique=True).map(tuple),
    span_types=st.lists(span_types, max_size=2).map(tuple),
    listing=st.sampled_from(("never", "several", "always")),
    is_distinct=st.booleans(),
)
grammars = st.builds(
    Grammar,
    frame=st.sampled_from(("text", "json", "tool_call")),
    style=st.sampled_from(("compact", "spaced", "indented")),
    fields=st.lists(fields, min_size=1, max_size=3).map(tuple),
    objects=st.lists(st.lists(keys, min_size=1, max_size=2).map(tuple), max_size=1).map(tuple),
)


def as_json(grammar: Grammar) -> dict[str, Any]:
    """Return the grammar as a bundle holds it."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(grammar))
    return found


@given(grammars, st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.data())
def test_every_answer_is_written_as_the_host_writes_it(grammar: Grammar, words: list[str], data: Any) -> None:
    text, places = "", []
    for word in words:
        places.append((len(text), len(text) + len(word)))
        text += f"{word} "
    kinds = grammar.tags // 2
    spans = (
        data.draw(st.lists(st.builds(Span, st.integers(0, kinds - 1), st.just(0), st.just(0)), max_size=3))
        if kinds
        else []
    )
    spans = [
        Span(span.span_type, *place)
        for span, place in zip(spans, data.draw(st.permutations(places)), strict=False)
    ]
    options = [data.draw(st.integers(0, field.options - 1)) for field in grammar.fields if field.options]

    try:
        expected = grammar.compose_answer(text, options, spans)
    except SpecialistError:
        with pytest.raises(ValueError, match="malformed"):
            edge.compose_answer(as_json(grammar), text, options, _plain(spans))
        return

    assert edge.compose_answer(as_json(grammar), text, options, _plain(spans)) == expected


@given(grammars, st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
def test_every_decision_is_taken_as_the_host_takes_it(
    grammar: Grammar, seed: int, words: int, has_head: bool
) -> None:
    draw = np.random.default_rng(seed)
    tags = draw.normal(size=(words, grammar.tags)).astype(np.float32)
    opinions = [draw.normal(size=max(1, grammar.options)).astype(np.float32) for _ in range(1 + has_head)]

    here = decode_answer(grammar, tags, *opinions)

    assert edge.decode_answer(as_json(grammar), tags, opinions) == (
        here.tags,
        here.options,
        list(here.trace.logprobs),
    )


CUTTING = Grammar(
    frame="json",
    style="spaced",
    fields=(
        Field(path=("mood",), choices=('"calm"', '"loud"', "null")),
        Field(path=("slots", "who"), span_types=(SpanType(),), listing="several"),
    ),
)
CHOOSING = Grammar(frame="text", fields=(Field(path=(), choices=('"calm"', '"loud"', '"late"')),))


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.learn
@pytest.mark.parametrize("grammar", [CUTTING, CHOOSING], ids=["cutting", "choosing"])
def test_a_bundle_drafts_as_the_host_does_to_the_last_bit(
    grammar: Grammar, encoder: OnnxEncoder, tmp_path: Path
) -> None:
    """A network that nobody has taught decides by chance, but always the same."""
    pytest.importorskip("torch", reason="needs the extra `learn`")
    version = publish_untaught(grammar, encoder, tmp_path)
    manifest, found = Registry(tmp_path / "models").verify("support", 1)
    write_bundle(tmp_path / "support.zip", found, manifest, encoder, [])
    with zipfile.ZipFile(tmp_path / "support.zip") as bundle:
        bundle.extractall(tmp_path)
    texts = [*QUESTIONS, *EXAMPLES]

    there = [json.loads(line) for line in run(tmp_path / "support", *texts).stdout.splitlines()]

    here = [drafted(runtime.create(version, resources_of(encoder)), text) for text in texts]
    assert [(said["answer"], said["score"]) for said in there] == [(one.text, one.score) for one in here]
    assert [{"min_logprob": said["min_logprob"], "similarity": said["similarity"]} for said in there] == [
        one.evidence for one in here
    ]
    assert "8 of 8 drafts are the same" in run(tmp_path / "support", "--check").stdout
    assert "error" in json.loads(run(tmp_path / "support", "x " * 400).stdout)


def publish_untaught(grammar: Grammar, encoder: OnnxEncoder, folder: Path) -> Path:
    """Publish a tagger of random decisions."""
    from gateway.distill.recipes.span.network import export_tagger, new_network

    scratch = folder / "scratch"
    scratch.mkdir()
    export_tagger(new_network(grammar, None, seed=0), scratch / runtime.MODEL)
    runtime.write_grammar(grammar, minilm.build_tokenizer(), scratch)
    knn.write_neighbors(np.stack([encoder.encode(text) for text in EXAMPLES]), scratch)
    if grammar.is_choice:
        draw = np.random.default_rng(0)
        shape = (feature_width(encoder.dimension), grammar.options)
        head = OptionHead(
            coefficients=draw.normal(size=shape).astype(np.float32), intercept=np.zeros(3, np.float32)
        )
        write_option_head(head, scratch)
    return publish_trained(Registry(folder / "models"), scratch, encoder, runtime="tagger")


def _plain(spans: list[Span]) -> list[tuple[int, int, int]]:
    return [(span.span_type, span.start, span.end) for span in spans]
