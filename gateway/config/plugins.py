"""Plugins: a name in the configuration is the file name of a module."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from gateway.errors import ConfigError


def list_plugins(package: str) -> list[str]:
    """Return the names in a plural folder (as "gateway.harvest.formats"), sorted."""
    folder = importlib.import_module(package)
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def load_plugin(package: str, name: str) -> ModuleType:
    """Return the module `name` of a plural folder. Raises ConfigError with the known names."""
    check_plugin(package, name)
    return importlib.import_module(f"{package}.{name}")


def check_plugin(package: str, name: str) -> None:
    """Raise ConfigError with the known names unless a plural folder has `name`; nothing of it is imported."""
    known = list_plugins(package)
    if name not in known:
        kind = package.rpartition(".")[2].removesuffix("s")
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
