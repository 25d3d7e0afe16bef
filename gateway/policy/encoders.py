"""What policies say of the local encoder."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import OWN_PREFIX
from gateway.errors import ConfigError
from gateway.policy.schema import Policy


def check_encoders(policies: Iterable[Policy], encoder: str) -> None:
    """Raise ConfigError for a policy which names another encoder than `encoder`, which the host runs."""
    for policy in policies:
        if policy.embed not in (None, encoder):
            raise ConfigError(
                f"policy '{policy.name}': embed: unknown encoder '{policy.embed}'; "
                f"the model host runs '{encoder}' (specialists.encoder)"
            )


def encoder_models(policies: Iterable[Policy]) -> set[str]:
    """Return the models of ours, `stepdown/...`, which policies spell out for an encoder."""
    named = {model for policy in policies if policy.embed for model in policy.models}
    return {model for model in named if model.startswith(OWN_PREFIX) and not set(model) & set("*?[")}
