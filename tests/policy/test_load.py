from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.policy.load import load_policies, read_policy_file
from gateway.policy.schema import AuditShares, Policy
from gateway.wire.private_data import KINDS

KINDS_TO_REDACT = "email, phone, card, iban, ip, national_id, secret, all"


def written(folder: Path, text: str, name: str = "p.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_folder_the_shipped_policy_applies_with_the_default_values() -> None:
    assert load_policies(None) == (Policy(name="default"),)


def test_every_key_can_be_written(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
policies:
  - name: a
    models: [gpt-*]
    callers: [team-*]
    serve: false
    forbid: true
    alpha: 0.05
    delta: 0.2
    audit: {shadow: 0.5, certified: 0.1}
    harvest: false
    usd_per_day: 3
""",
    )

    assert read_policy_file(file) == (
        Policy(
            name="a",
            models=("gpt-*",),
            callers=("team-*",),
            serve=False,
            forbid=True,
            alpha=0.05,
            delta=0.2,
            audit=AuditShares(shadow=0.5, certified=0.1),
            harvest=False,
            usd_per_day=3.0,
        ),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "policies:\n  - name: a\n    model: [x]\n",
            ":3:5 unknown key 'model' in [policies[0]]; known: name, models",
        ),
        ("policies:\n  - name: a\n    audit:\n      shaddow: 1\n", ":4:7 unknown key 'shaddow'"),
        (
            "policies:\n  - name: a\n  - name: b\n    alpha: 2%\n",
            ":4:5 policies[1].alpha: expected `float`, got `str`",
        ),
        ("policies:\n  - name: a\n    alpha: 0.9\n", ":3:5 policies[0].alpha: expected `float` <= 0.5"),
        (
            "policies:\n  - name: a\n    agreement: equal\n",
            ":2:5 policies[0]: unknown agreement 'equal'; known: exact, json, number, set_f1, text",
        ),
        ("policies:\n  - name: a\n    agreement: number:x\n", ":2:5 policies[0]: the tolerance is a share"),
        (
            "policies:\n  - name: a\n    models: []\n",
            ":3:5 policies[0].models: expected `array` of length >= 1",
        ),
        (
            "policies:\n  - name: a\n    redact: [ip, e-mail]\n",
            f":3:18 policies[0].redact[1]: invalid enum value 'e-mail'; known: {KINDS_TO_REDACT}",
        ),
        (
            "policies:\n  - name: a\n    redact: everything\n",
            f":3:5 policies[0].redact: invalid enum value 'everything'; known: {KINDS_TO_REDACT}",
        ),
        ("policies:\n  - models: [x]\n", ":2:5 policies[0]: object missing required field `name`"),
        ("policies:\n  - name: a\n    serve: true\n    serve: false\n", ":4:5 duplicate key 'serve'"),
        ("policies:\n  - name: a\n   bad: [\n", ":3:4 not YAML"),
        ("policys: []\n", ":1:1 unknown key 'policys'; known: policies"),
        ("", ":1:1 expected `object`, got `null`"),
        ("policies: !!python/object:os.system {}\n", ":1:11 not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_line_column_and_allowed_values(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = written(tmp_path, text)

    with pytest.raises(ConfigError) as refused:
        read_policy_file(file)

    assert str(refused.value).startswith(f"{file}{complaint}")


@pytest.mark.parametrize(
    ("given", "kinds"),
    [("all", KINDS), ("[all]", KINDS), ("[ip, all]", KINDS), ("ip", ["ip"]), ("[ip, card]", ["ip", "card"])],
)
def test_kinds_of_private_data_are_named_alone_or_in_a_list(
    tmp_path: Path, given: str, kinds: Sequence[str]
) -> None:
    """`[all]` was refused, without a word of what would be taken."""
    file = written(tmp_path, f"policies:\n  - name: a\n    redact: {given}\n")

    assert read_policy_file(file)[0].private_kinds == frozenset(kinds)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    file = written(tmp_path, "\n".join(lines))

    with pytest.raises(ConfigError, match="unknown key 'a0'"):
        read_policy_file(file)


def test_default_comes_last_and_the_other_files_by_name(tmp_path: Path) -> None:
    for name in ("z", "default", "a"):
        written(tmp_path, f"policies: [{{name: of-{name}}}]", f"{name}.yaml")

    assert [policy.name for policy in load_policies(tmp_path)] == ["of-a", "of-z", "of-default"]


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path, "policies: [{name: same}]", f"{name}.yaml")

    with pytest.raises(ConfigError, match="two policies are named 'same'"):
        load_policies(tmp_path)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_policies_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"policies\.folder"):
        load_policies(folder)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match=r"p\.yaml: cannot be read"):
        read_policy_file(file)


def test_the_word_for_no_policy_is_no_name(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("policies: [{name: none}]")

    with pytest.raises(ConfigError, match=r"p\.yaml:1:\d+ .*cannot be named 'none'"):
        read_policy_file(file)
