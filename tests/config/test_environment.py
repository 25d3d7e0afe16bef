from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.environment import read_secret
from gateway.errors import ConfigError


def test_a_secret_can_be_in_a_file(tmp_path: Path) -> None:
    """As Docker and Kubernetes mount them, with a line break at the end."""
    file = tmp_path / "key"
    file.write_text("sk-from-file\n")

    found = read_secret({"OPENAI_API_KEY_FILE": str(file)}, "OPENAI_API_KEY")

    assert found == ("sk-from-file", f"OPENAI_API_KEY_FILE ({file})")


def test_a_secret_has_one_origin(tmp_path: Path) -> None:
    both = {"OPENAI_API_KEY": "sk", "OPENAI_API_KEY_FILE": str(tmp_path)}

    with pytest.raises(ConfigError, match="OPENAI_API_KEY and OPENAI_API_KEY_FILE are both set"):
        read_secret(both, "OPENAI_API_KEY")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY_FILE: .*missing cannot be read"):
        read_secret({"OPENAI_API_KEY_FILE": str(tmp_path / "missing")}, "OPENAI_API_KEY")


@pytest.mark.parametrize("secret", ["sk-a\nb", "sk-ä", "sk a", "\x00"])
def test_what_no_header_can_carry_stops_the_start_and_is_not_printed(secret: str) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is no key") as raised:
        read_secret({"OPENAI_API_KEY": secret}, "OPENAI_API_KEY")

    assert secret not in str(raised.value)


def test_a_blank_secret_is_a_mistake_an_empty_one_is_unset() -> None:
    assert read_secret({"OPENAI_API_KEY": "", "OPENAI_API_KEY_FILE": ""}, "OPENAI_API_KEY") is None
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is blank"):
        read_secret({"OPENAI_API_KEY": "  "}, "OPENAI_API_KEY")
