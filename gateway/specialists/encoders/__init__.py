"""Text encoders, one file each; the file name is the name in the configuration."""

from __future__ import annotations

import msgspec

from gateway.config.plugins import load_plugin
from gateway.errors import ConfigError
from gateway.specialists.base import Encoder


def create_encoder(name: str, config: bytes | str = b"{}") -> Encoder:
    """Return the encoder `name` with `config`, a JSON object of its own settings. Reads its files.

    Raises ConfigError for an unknown name or setting, RegistryError for missing or changed files.
    """
    module = load_plugin(__name__, name)
    try:
        settings = msgspec.json.decode(config, type=module.Config)
    except msgspec.DecodeError as exc:
        raise ConfigError(f"settings of encoder {name!r}: {exc}") from exc
    encoder: Encoder = module.create(settings)
    return encoder
