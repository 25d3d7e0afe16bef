from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gateway.core import Secret
from gateway.errors import ConfigError
from gateway.finops.prices import Price
from gateway.settings import Server, Settings, read_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_settings(text: str, name: str = "stepdown.toml") -> Path:
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_has_to_be_configured() -> None:
    settings = read_settings({})

    assert settings == Settings()
    assert settings.server.host == "127.0.0.1"
    assert settings.admission == "forward"


def test_the_file_in_the_working_folder_is_read() -> None:
    write_settings('[server]\nport = 9000\n[prices."gpt-x"]\ninput = 1\noutput = 2.5\n')

    settings = read_settings({})

    assert settings.server.port == 9000
    assert settings.prices == {"gpt-x": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.5)}


def test_another_file_can_be_named() -> None:
    write_settings("[server]\nport = 9000\n")
    write_settings("[server]\nport = 9001\n", "other.toml")

    assert read_settings({"STEPDOWN_CONFIG": "other.toml"}).server.port == 9001


def test_a_named_file_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        read_settings({"STEPDOWN_CONFIG": "missing.toml"})


def test_a_variable_beats_the_file() -> None:
    write_settings('home = "a"\n[server]\nport = 9000\nlabels = true\n')

    settings = read_settings(
        {
            "STEPDOWN_HOME": "b",
            "STEPDOWN_SERVER_PORT": "9001",
            "STEPDOWN_SERVER_LABELS": "false",
            "STEPDOWN_ROUTING_CLASSIFIERS": "fingerprint, other",
            "STEPDOWN_LEARN_GROWTH": "1.5",
            "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        }
    )

    assert (settings.home_folder, settings.server.port, settings.server.labels) == ("b", 9001, False)
    assert (settings.routing.classifiers, settings.learn.growth) == (("fingerprint", "other"), 1.5)
    assert settings.upstream.base_url == "http://127.0.0.1:1/v1"


def test_one_port_cannot_serve_both_planes() -> None:
    with pytest.raises(ConfigError, match="port and admin_port are both 9000"):
        read_settings({"STEPDOWN_SERVER_PORT": "9000", "STEPDOWN_SERVER_ADMIN_PORT": "9000"})


def test_of_two_variables_for_one_key_ours_wins() -> None:
    settings = read_settings(
        {"STEPDOWN_UPSTREAM_BASE_URL": "http://ours/v1", "OPENAI_BASE_URL": "http://theirs/v1"}
    )

    assert settings.upstream.base_url == "http://ours/v1"


def test_an_empty_variable_counts_as_unset() -> None:
    assert (
        read_settings({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "STEPDOWN_SERVER_PORT": ""}) == Settings()
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[server]\nport = 1\nprot = 1\n",
            "3:1 unknown key 'prot' in [server]; known: host, port, admin_host, admin_port",
        ),
        ("[server]\n  prot = 1\n", "2:3 unknown key 'prot'"),
        ("server.prot = 1\n", "1:1 unknown key 'prot'"),
        ("[sever]\nport = 1\n", "1:2 unknown key 'sever'; known: home, server"),
        ("[server]\nport = 'x'\n", "2:1 server.port: expected `int`, got `str`"),
        ("[server]\nport = 70000\n", "2:1 server.port: expected `int` <= 65535"),
        (
            "[server]\nlog_format = 'xml'\n",
            "2:1 server.log_format: invalid enum value 'xml'; known: plain, json",
        ),
        ("[upstream]\nbase_url = 'host/v1'\n", "1:2 upstream: base_url must look like https://host/v1"),
        (
            "[prices.a]\ninput = 1\noutput = 1\n[prices.'b.c']\ninput = 1\noutpt = 2\n",
            "6:1 unknown key 'outpt'",
        ),
        ("[learn]\nvalidation_share = 1\n", "2:1 learn.validation_share: expected `float` < 1.0"),
        ("[prices.a]\ninput = -1\noutput = 1\n", "2:1 prices.a.input: expected `float` >= 0.0"),
        ("[prices.a]\ninput = 1\n", "1:2 prices.a: object missing required field `output`"),
        ("[server]\nport = \n", "2:8 not TOML"),
        ("server = [", "1:11 not TOML"),
    ],
)
def test_a_wrong_key_stops_the_start_with_file_line_column_and_what_was_allowed(
    text: str, complaint: str
) -> None:
    write_settings(text)

    with pytest.raises(ConfigError) as refused:
        read_settings({})

    assert str(refused.value).startswith(f"stepdown.toml:{complaint}")


@pytest.mark.parametrize(
    ("base_url", "complaint"),
    [
        ("http://host:99999/v1", "port out of range"),
        (" http://host/v1", "no white space"),
        ("http://host/v1\n", "no white space"),
        ("https://api.openai.com/v1/chat/completions/", "must end before /chat/completions"),
    ],
)
def test_an_address_of_the_teacher_that_no_request_would_reach_stops_the_start(
    base_url: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_settings({"OPENAI_BASE_URL": base_url})


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("STEPDOWN_SERVER_PORT", "environment: STEPDOWN_SERVER_PORT: 'much' refused: Expected `int`"),
        ("STEPDOWN_PORT", "environment: unknown variable STEPDOWN_PORT; known: "),
    ],
)
def test_a_wrong_variable_stops_the_start(name: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({name: "much"})

    assert str(refused.value).startswith(complaint)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.org"])
def test_an_open_gateway_is_refused_where_others_can_reach_it(host: str) -> None:
    with pytest.raises(ConfigError, match="open lets anybody in"):
        read_settings({"STEPDOWN_SERVER_OPEN": "true", "STEPDOWN_SERVER_HOST": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_an_open_gateway_is_allowed_on_loopback(host: str) -> None:
    settings = read_settings({"STEPDOWN_SERVER_OPEN": "true", "STEPDOWN_SERVER_HOST": host})

    assert settings.admission == "open"


def test_with_a_teachers_key_clients_need_keys_of_ours() -> None:
    settings = read_settings({"OPENAI_API_KEY": " sk-teacher\n"})

    assert settings.admission == "keys"
    assert settings.upstream.api_key == Secret("sk-teacher")


def test_a_secret_in_the_file_is_refused_without_being_shown() -> None:
    write_settings("[upstream]\napi_key = 'sk-very-secret'\n")

    with pytest.raises(ConfigError, match="from the environment only") as refused:
        read_settings({})

    assert str(refused.value).startswith("stepdown.toml:2:1 ")
    assert "sk-very-secret" not in str(refused.value)


def test_a_secret_does_not_show_when_settings_are_printed_or_stored() -> None:
    settings = read_settings({"OPENAI_API_KEY": "sk-teacher"})

    assert "sk-teacher" not in f"{settings} {settings!r} {settings.upstream.api_key}"
    with pytest.raises(TypeError):
        pickle.dumps(settings.upstream.api_key)


def test_home_becomes_an_absolute_path(folder: Path) -> None:
    assert read_settings({}).home.folder == folder / ".stepdown"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEPDOWN_PORT", "tcp://10.0.0.7:8080"),
        ("STEPDOWN_SERVER_PORT", "tcp://10.0.0.7:8080"),
        ("STEPDOWN_SERVER_ADMIN_PORT", "udp://10.0.0.7:8080"),
        ("STEPDOWN_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("STEPDOWN_PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("STEPDOWN_SERVER_PORT_8080_TCP_PROTO", "tcp"),
        ("STEPDOWN_SERVICE_HOST", "10.0.0.7"),
        ("STEPDOWN_SERVICE_PORT", "8080"),
        ("STEPDOWN_SERVICE_PORT_HTTP", "8080"),
        ("STEPDOWN_METRICS_SERVICE_HOST", "10.0.0.7"),
    ],
)
def test_what_kubernetes_says_of_services_is_no_setting(name: str, value: str) -> None:
    """It sets them in each pod of a namespace with a service called stepdown, or stepdown-server."""
    assert read_settings({name: value}).server == Server()


def test_a_port_of_ours_is_still_a_setting_beside_them() -> None:
    assert read_settings({"STEPDOWN_SERVER_PORT": "9000"}).server.port == 9000


TEACHERS = """
[[teachers]]
name = "openai"
credential = "KEY_A"
first_byte_timeout_s = 30
[[teachers]]
name = "local"
base_url = "http://127.0.0.1:8000/v1"
credential = "none"
models = { "*" = "llama" }
trainable = "no"
"""


def test_several_teachers_are_listed_each_with_its_own_key() -> None:
    write_settings(TEACHERS)

    settings = read_settings({"KEY_A": "sk-a", "OPENAI_API_KEY": "sk-other"})

    assert [teacher.name for teacher in settings.teachers] == ["openai", "local"]
    assert [teacher.api_key for teacher in settings.teachers] == [Secret("sk-a"), Secret("")]
    assert settings.admission == "keys"


def test_the_first_of_several_is_the_teacher_of_what_knows_only_one() -> None:
    write_settings(TEACHERS)

    upstream = read_settings({"KEY_A": "sk-a"}).upstream

    assert (upstream.api_key, upstream.first_byte_timeout_s) == (Secret("sk-a"), 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEACHERS + "[upstream]\nretries = 1\n", "use one of them"),
        (TEACHERS.replace('"local"', '"openai"'), "a name is given twice"),
        ('[[teachers]]\nname = "A b"\n', "name"),
        ('[[teachers]]\nname = "a"\napi_key = "sk"\n', "environment only"),
        ('[[teachers]]\nname = "a"\nbase_url = "x"\n', "base_url"),
    ],
)
def test_teachers_that_cannot_be_meant_are_refused(text: str, message: str) -> None:
    write_settings(text)

    with pytest.raises(ConfigError, match=message):
        read_settings({})


@pytest.mark.parametrize(
    ("parts", "where"),
    [("rows", "conf/rows"), ("/data/rows", "/data/rows"), ("s3://bucket/rows", "s3://bucket/rows")],
)
def test_parts_are_in_a_folder_beside_the_file_or_at_a_url(parts: str, where: str) -> None:
    Path("conf").mkdir()
    write_settings(f'[harvest]\nparts = "{parts}"\n', "conf/stepdown.toml")

    assert read_settings({"STEPDOWN_CONFIG": "conf/stepdown.toml"}).harvest.parts == where
    assert read_settings({"STEPDOWN_HARVEST_PARTS": parts}).harvest.parts == parts


@pytest.mark.parametrize(
    ("storage", "where"), [("models", "conf/models"), ("s3://bucket/models", "s3://bucket/models")]
)
def test_the_registry_may_lie_where_several_machines_reach_it(storage: str, where: str) -> None:
    Path("conf").mkdir()
    write_settings(f'[registry]\nstorage = "{storage}"\n', "conf/stepdown.toml")

    found = read_settings({"STEPDOWN_CONFIG": "conf/stepdown.toml", "STEPDOWN_STATE_URL": "redis://valkey"})
    assert found.registry.storage == where


def test_a_registry_of_several_machines_needs_their_state() -> None:
    """Without it no other machine has the certificate that names a version."""
    with pytest.raises(ConfigError, match=r"registry\.storage: needs state\.url"):
        read_settings({"STEPDOWN_REGISTRY_STORAGE": "s3://bucket/models"})


def test_a_credential_of_the_registry_is_refused_in_the_file() -> None:
    write_settings('[registry]\noptions = {secret = "x"}\n')

    with pytest.raises(ConfigError, match=r"'secret' is a secret.*AWS_ACCESS_KEY_ID"):
        read_settings({})


def test_a_credential_of_the_parts_storage_is_refused_in_the_file() -> None:
    """People share and commit it."""
    write_settings(
        '[harvest]\nparts = "s3://b/r"\nparts_options = {key = "AKIA", endpoint_url = "http://s3"}\n'
    )

    with pytest.raises(ConfigError, match=r"'key' is a secret.*AWS_ACCESS_KEY_ID"):
        read_settings({})
