"""Adapters on a server: handed over in PEFT form, loaded or chosen there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.errors import RegistryError, SpecialistError
from gateway.registry.files import digest_of
from gateway.specialists.remote.config import EngineConfig

if TYPE_CHECKING:
    from gateway.specialists.remote.http import EngineHttp
    from gateway.specialists.remote.replica import Replica

WEIGHTS, CARD = "adapter_model.safetensors", "adapter_config.json"
"""The two files of PEFT."""


class Adapter(msgspec.Struct, frozen=True):
    """An adapter in the folder that the servers read; its name says its content, so that all agree on it."""

    name: str
    folder_there: str


def share_adapter(folder: Path, config: EngineConfig) -> Adapter:
    """Put the PEFT files of `folder` where the servers read them, unless they are there already.

    Raises RegistryError if the engine takes no adapters, or the files cannot be read or written.
    """
    if config.adapters == "none":
        raise RegistryError(f"{folder} is an adapter, and the engine takes none: set its `adapters`")
    name = f"stepdown-{digest_of(folder / WEIGHTS)[:16]}"
    shared = Path(config.adapters_folder) / name
    try:
        if not shared.is_dir():
            _copy(folder, shared)
    except OSError as exc:
        raise RegistryError(f"the adapter cannot be written to {shared}: {exc}") from exc
    there = config.adapters_folder_there or str(Path(config.adapters_folder).absolute())
    return Adapter(name, str(PurePosixPath(there) / name))


async def select_adapter(
    adapter: Adapter, config: EngineConfig, replica: Replica, http: EngineHttp
) -> dict[str, Any]:
    """Return the fields of a request that is answered with `adapter`, loading it there if need be.

    Raises SpecialistError("adapter missing") if the server cannot take it.
    """
    if adapter.name not in replica.adapters:
        find = _load_on_vllm if config.adapters == "vllm" else _find_on_llamacpp
        replica.adapters[adapter.name] = await find(adapter, replica, http)
    if config.adapters == "vllm":
        return {"model": adapter.name}
    return {"model": config.model, "lora": [{"id": replica.adapters[adapter.name], "scale": 1.0}]}


async def _load_on_vllm(adapter: Adapter, replica: Replica, http: EngineHttp) -> int:
    body = {"lora_name": adapter.name, "lora_path": adapter.folder_there}
    status, said = await http.post_json(f"{replica.root}/v1/load_lora_adapter", body)
    # vLLM refuses a name that it holds already with 400; the name says the content.
    if status != 200 and b"already" not in said:
        raise SpecialistError("adapter missing", f"{replica.root} refused it with {status}: {said[:200]!r}")
    return 0


async def _find_on_llamacpp(adapter: Adapter, replica: Replica, http: EngineHttp) -> int:
    """Return the number of the adapter among those that llama.cpp was started with: it loads no others."""
    for entry in await http.get_json(f"{replica.root}/lora-adapters") or ():
        if adapter.name in str(entry.get("path")):
            return int(entry["id"])
    raise SpecialistError(
        "adapter missing", f"{replica.root} was not started with --lora {adapter.folder_there}.gguf"
    )


def _copy(folder: Path, shared: Path) -> None:
    """Copy the two files by one rename: a server never reads half of them."""
    shared.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".sharing-", dir=shared.parent))
    try:
        for name in (WEIGHTS, CARD):
            shutil.copyfile(folder / name, staging / name)
        staging.chmod(0o755)
        os.rename(staging, shared)  # noqa: PTH104 - another process may have been first: see below
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not shared.is_dir():
            raise
