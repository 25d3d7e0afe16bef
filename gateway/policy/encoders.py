"""The local encoder as the policies name it."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import OWN_PREFIX
from gateway.errors import ConfigError
from gateway.policy.schema import Policy


def check_encoders(policies: Iterable[Policy], encoder: str) -> None:
    """Raise ConfigError if a policy names another encoder than `encoder`, the one that the host runs."""
    for policy in policies:
        if policy.embed not in (None, encoder):
            raise ConfigError(
                f"policy '{policy.name}': embed: unknown encoder '{policy.embed}'; "
                f"the model host runs '{encoder}' (specialists.encoder)"
            )


def encoder_models(policies: Iterable[Policy]) -> set[str]:
    """Return the names `stepdown/...`, without wildcards, that policies assign to the encoder."""
    models = {model for policy in policies if policy.embed for model in policy.models}
    return {model for model in models if model.startswith(OWN_PREFIX) and not set(model) & set("*?[")}
