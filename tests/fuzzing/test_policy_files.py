"""Any file of policies gives policies, or an error of one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.policy.load import read_policy_file
from gateway.policy.schema import Policy

FIELDS = st.sampled_from(Policy.__struct_fields__)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.dates() | st.datetimes() | st.binary(max_size=4) | st.sampled_from(["*", "tenant", "owned", "ask"])
)  # fmt: skip
KEYS = FIELDS | SCALARS | st.tuples(SCALARS)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
POLICIES = st.dictionaries(FIELDS, TREES, max_size=4).map(lambda fields: {"name": "a", **fields})
FILES = TREES | st.builds(lambda value: {"policies": value}, TREES | st.lists(POLICIES, max_size=3))

PIECES = st.sampled_from(
    [
        *"ab0:-?*&!|>'\"%@`{}[],# \n\t~<=.\\\0\x1f\x7f\x85\ufeff\u2028",
        *["policies:", "\n- ", "name: ", "&a ", "*a", "<<: ", "---\n", "...\n", "? [a]\n: b\n"],
        *["!!set ", "!!omap ", "!!pairs ", "!!binary ", "!!int ", "!!float ", "!!bool ", "!!timestamp "],
        *["!!python/object:x ", "!<tag:a> "],
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies") / "any.yaml"


def read_or_refuse(file: Path, content: bytes) -> None:
    """Read a file of that content; whatever is said against it is one line that can be printed."""
    file.write_bytes(content)
    try:
        assert all(isinstance(policy, Policy) for policy in read_policy_file(file))
    except ConfigError as exc:
        message = str(exc)
        assert message.isprintable(), message
        assert message.startswith(f"{file}:")
        assert len(message) < 2_010


@given(FILES)
@example({"\x1f": None})
def test_any_shape_gives_policies_or_one_line(file: Path, shape: object) -> None:
    read_or_refuse(file, yaml.dump(shape).encode())


@given(TEXTS | TEXTS.map(lambda text: f"policies:\n  - name: a\n    models: {text}"))
@example("!!int ")
@example("!!timestamp ")
@example("? [a]\n: b\n")
@example("[" * 10_000)
@example("policies: [{name: " + "x" * 10_000 + "}]")
def test_any_text_gives_policies_or_one_line(file: Path, text: str) -> None:
    read_or_refuse(file, text.encode(errors="surrogatepass"))


@given(st.binary(max_size=60))
def test_any_bytes_give_policies_or_one_line(file: Path, content: bytes) -> None:
    read_or_refuse(file, content)
