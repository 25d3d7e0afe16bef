"""The settings of one engine elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.bounds import PositiveFloat

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")]


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server that gives logprobs, or several alike, on which specialists run."""

    urls: Annotated[tuple[Url, ...], Meta(min_length=1)]
    """The base URLs, as a client of OpenAI's takes them (`http://10.0.0.7:8000/v1`); one per replica.
    A draft goes to the one with the fewest drafts under way."""
    model: Annotated[str, Meta(min_length=1)]
    """The name by which the servers know the model; with `adapters`, their base model."""
    api_key_file: str | None = None
    """The file with the servers' key, read for each request: a new key needs no restart. None: no key."""
    ca_file: str | None = None
    """The file of the authorities that vouch for `https` servers; None: those of the system."""
    timeout_s: Annotated[float, Meta(gt=0, le=15)] = 10.0
    """The most that one draft may take. While serving, `specialists.budget_ms` usually ends it sooner."""
    check_every_s: PositiveFloat = 30.0
    """How often a server in use is asked which model it runs."""
    probe: bool = True
    """Let a server complete one fixed prompt, eight tokens, at each check: it tells other weights under
    the same name. Turn it off where answers vary by themselves, as those of another stepdown do."""
    top_logprobs: Annotated[int, Meta(ge=2, le=20)] = 5
    """Alternatives asked for per token; margin and entropy are computed from them. vLLM allows 20,
    OpenAI's own API too."""
    adapters: Literal["none", "vllm", "llamacpp"] = "none"
    """How adapters get there. `vllm`: loaded while it runs (`/v1/load_lora_adapter`; it must be started with
    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True). `llamacpp`: chosen per request among those it was started with."""
    adapters_folder: str = ""
    """The folder that adapters are written to, in PEFT form, for the servers to read."""
    adapters_folder_there: str = ""
    """The path of that folder on the servers, if it is another one there."""

    def __post_init__(self) -> None:
        """Refuse adapters without a folder to hand them over in."""
        if self.adapters != "none" and not self.adapters_folder:
            raise ValueError("adapters_folder is missing: the servers read the adapters there")
