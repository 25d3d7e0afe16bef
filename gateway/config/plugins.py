"""A name in configuration, turned into the extension which has that file name."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from gateway.errors import ConfigError


def list_plugins(package: str) -> list[str]:
    """Return what can be named in a plural folder ("gateway.harvest.formats"): its file names, sorted."""
    folder = importlib.import_module(package)
    found = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def load_plugin(package: str, name: str) -> ModuleType:
    """Return the module `name` of a plural folder. Raises ConfigError naming what is known."""
    known = list_plugins(package)
    if name not in known:
        kind = package.rpartition(".")[2].removesuffix("s")
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
