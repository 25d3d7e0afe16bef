"""The errors of requests that policies do not let pass."""

from __future__ import annotations

from gateway.core import Request, Resource
from gateway.errors import RequestError
from gateway.policy.schema import Policy


def refuse_padded_model(model: str) -> RequestError:
    """Return the error of a model that some teachers would take for one without the space around it."""
    return RequestError(
        f"Invalid model: '{model[:100]}' has space around its name.", param="model", code="invalid_model"
    )


def refuse_forbidden(policy: Policy, request: Request) -> RequestError:
    """Return the error of a request that `policy` forbids."""
    what = (
        f"model '{request.model}'" if request.model else f"{request.resource.method} {request.resource.path}"
    )
    return RequestError(
        f"policy '{policy.name}' forbids {what}",
        status=403,
        param="model" if request.model else None,
        code="forbidden_by_policy",
        policy=policy.name,
    )


def refuse_closed_path(resource: Resource, reason: str) -> RequestError:
    """Return the error of a path that is closed until a policy opens it."""
    return RequestError(
        f"{resource.method} {resource.path[:200]} is closed here: {reason}. "
        "The operator can open it with a policy that names it in `paths`.",
        status=403,
        code="path_not_open",
    )
