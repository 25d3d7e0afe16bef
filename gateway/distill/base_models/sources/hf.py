"""A model on the Hugging Face hub, or on any server which speaks like it (HF_ENDPOINT)."""

from __future__ import annotations

from pathlib import Path

from gateway.distill.base_models.base import Fetched, weights_digest
from gateway.errors import RegistryError

# What a conversion reads. No pickled weights and no code, whatever a repository holds.
_WANTED = ["*.json", "*.jinja", "*.safetensors", "*.onnx", "*.onnx.data"]


def fetch(address: str) -> Fetched:
    """Return the model `org/name@revision`; the revision is a commit, a tag or a branch (main).

    It stays in the hub's own cache (HF_HOME), so that a second time it is not downloaded again.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = address.partition("@")
    try:
        found = snapshot_download(name, revision=revision or "main", allow_patterns=_WANTED)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        reason = str(exc).strip().partition("\n")[0]
        raise RegistryError(f"hf:{address} could not be fetched: {reason}") from exc
    folder = Path(found)
    # The hub's cache names a snapshot by its commit.
    return Fetched(
        folder=folder,
        name=name.rpartition("/")[2].lower(),
        source=f"hf:{name}@{folder.name}",
        sha256=weights_digest(folder),
    )
