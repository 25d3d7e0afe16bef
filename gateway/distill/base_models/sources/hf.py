"""A model on the Hugging Face hub, or on any server with the same API (HF_ENDPOINT)."""

from __future__ import annotations

from pathlib import Path

from gateway.distill.base_models.base import FetchedModel, digest_weights
from gateway.errors import RegistryError

# The files that a conversion reads. Never pickled weights or code, even if a repository holds them.
_FILES = ["*.json", "*.jinja", "*.safetensors", "*.onnx", "*.onnx.data"]


def fetch(address: str) -> FetchedModel:
    """Return the model `org/name@revision`; the revision is a commit, a tag or a branch (main).

    It stays in the hub's own cache (HF_HOME), so it is downloaded once.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = address.partition("@")
    try:
        found = snapshot_download(name, revision=revision or "main", allow_patterns=_FILES)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        reason = str(exc).strip().partition("\n")[0]
        raise RegistryError(f"hf:{address} could not be fetched: {reason}") from exc
    folder = Path(found)
    # The hub's cache names the folder of a snapshot by its commit.
    return FetchedModel(
        folder=folder,
        name=name.rpartition("/")[2].lower(),
        source=f"hf:{name}@{folder.name}",
        sha256=digest_weights(folder),
    )
