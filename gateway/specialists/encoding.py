"""The encoder which the configuration names."""

from __future__ import annotations

import msgspec

from gateway.config.plugins import load_plugin
from gateway.errors import ConfigError
from gateway.specialists.base import Encoder

ENCODERS = "gateway.specialists.encoders"


def create_encoder(name: str, config: bytes | str = b"{}") -> Encoder:
    """Return the encoder `name` with `config`, a JSON object of its own settings. Reads its files.

    Raises ConfigError for an unknown name or setting, RegistryError for missing or changed files.
    """
    module = load_plugin(ENCODERS, name)
    try:
        settings = msgspec.json.decode(config, type=module.Config)
    except msgspec.DecodeError as exc:
        raise ConfigError(f"settings of encoder {name!r}: {exc}") from exc
    encoder: Encoder = module.create(settings)
    return encoder
