"""The reference and the JSON Schemas of stepdown.toml and of policy files, from the code alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from gateway.config.environment import list_variables
from gateway.config.plugins import list_plugins, load_plugin
from gateway.config.reference import (
    create_schema,
    describe_struct,
    find_struct,
    list_keys,
    write_keys,
    write_text,
)
from gateway.finops.prices import LongPrompt, Price
from gateway.policy.schema import Policy, PolicyFile
from gateway.settings import Settings
from gateway.specialists.remote.config import EngineConfig

Topic = Literal["settings", "policies"]

_SETTINGS_HEAD = """\
# Settings

Generated from the code by `stepdown config reference settings`; do not edit.

They are in `stepdown.toml` in the working folder, or in the file that `STEPDOWN_CONFIG` or `--config`
names. A variable `STEPDOWN_<SECTION>_<KEY>` beats the file (a list is separated by commas); tables
are in files alone. A relative path in the file is relative to the file's folder, in a variable to
the working folder. `stepdown config show --origin` prints every value with its origin.

Secrets come from the environment only: `OPENAI_API_KEY` is the teacher's key, `STEPDOWN_KEY` the key
of `stepdown ask`. `OPENAI_API_KEY_FILE` and `STEPDOWN_KEY_FILE` name files that hold them instead.
`OPENAI_BASE_URL`, `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID` stand for keys of `[upstream]`.
"""
_POLICIES_HEAD = """\
# Keys of a policy

Generated from the code by `stepdown config reference policies`; do not edit. README.md explains how
policies work. A file holds a list `policies:`; the first policy that matches a request decides. To have
an editor check a file, begin it with
`# yaml-language-server: $schema=.../policies/policies.schema.json`.
"""
_OPTIONS = (
    ("[routing.options.{}]", "gateway.routing.classifiers"),
    ('[specialists.encoder_options] of encoder = "{}"', "gateway.specialists.encoders"),
    ("[learn.options.{}]", "gateway.distill.recipes"),
    ('options of provider = "{}"', "gateway.upstream.providers"),
)
"""The tables in which an extension declares the keys."""


def write_reference(topic: Topic) -> str:
    """Return the reference as Markdown."""
    parts = _settings_parts() if topic == "settings" else _policy_parts()
    return "\n".join(parts)


def write_schema(topic: Topic) -> str:
    """Return the JSON Schema of a file."""
    if topic == "settings":
        return create_schema(Settings, "stepdown.toml")
    return create_schema(PolicyFile, "A policy file of stepdown")


def _settings_parts() -> Iterator[str]:
    yield _SETTINGS_HEAD
    yield write_keys([key for key in list_keys(Settings) if key.name != "prices"]) + "\n"
    for field in msgspec.structs.fields(Settings):
        if section := find_struct(field.type):
            yield _write_struct(f"[{field.encode_name}]", section)
            yield from _nested_parts(field.encode_name, section)
    yield _write_struct('[prices."<model>"]', Price)
    yield _write_struct('[prices."<model>".long]', LongPrompt)
    yield _write_struct("[specialists.engines.<name>]", EngineConfig)
    for title, package in _OPTIONS:
        for name in list_plugins(package):
            config = load_plugin(package, name).Config
            if list(list_keys(config)):
                yield _write_struct(title.format(name), config)
    yield "## Variables\n"
    yield "\n".join(f"- `{name}`" for name in sorted(list_variables(Settings))) + "\n"


def _nested_parts(name: str, section: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        if table := find_struct(field.type):
            yield _write_struct(f"[{name}.{field.encode_name}]", table)


def _policy_parts() -> Iterator[str]:
    yield _POLICIES_HEAD
    yield write_keys(list(list_keys(Policy))) + "\n"
    for field in msgspec.structs.fields(Policy):
        if table := find_struct(field.type):
            yield _write_struct(f"{field.encode_name}:", table)


def _write_struct(title: str, struct: type[msgspec.Struct]) -> str:
    return f"## {title}\n\n{write_text(describe_struct(struct))}\n\n{write_keys(list(list_keys(struct)))}\n"
