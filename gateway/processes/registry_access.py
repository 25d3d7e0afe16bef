"""The registry of specialists as the settings say: this machine's own, or that of several machines."""

from __future__ import annotations

from gateway.registry.models import Registry
from gateway.registry.shared import SharedRegistry
from gateway.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """Return the registry to learn, list and forget with; not for what serves, which reads the folder alone.

    Raises ConfigError for a storage that cannot be used.
    """
    return Registry(settings.home.registry) if settings.registry.storage is None else open_shared(settings)


def open_shared(settings: Settings) -> SharedRegistry:
    """Return the registry of several machines; nothing is asked before it is used. Raises ConfigError."""
    from gateway.registry.published import SETTING, PublishedVersions
    from gateway.store.object_storage import open_storage

    storage = open_storage(settings.registry.storage or "", settings.registry.options, SETTING)
    return SharedRegistry(settings.home.registry, PublishedVersions(storage))
