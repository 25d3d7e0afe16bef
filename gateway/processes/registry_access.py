"""The registry of specialists as the settings say: this machine's own, or that of several machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.registry.models import Registry
from gateway.registry.shared import SharedRegistry
from gateway.settings import Settings
from gateway.store.state import State

if TYPE_CHECKING:
    from gateway.processes.shared_bases import SharedBases
    from gateway.registry.published import PublishedVersions

BASES = "bases"
"""The folder of base models at `registry.storage`."""


def open_registry(settings: Settings) -> Registry:
    """Return the registry to learn, list and forget with; not for what serves, which reads the folder alone.

    Raises ConfigError for a storage that cannot be used.
    """
    return Registry(settings.home.registry) if settings.registry.storage is None else open_shared(settings)


def list_lost_versions(settings: Settings, state: State) -> list[tuple[str, int]]:
    """Return task and version of what should draft here, but has not all its files any more.

    Those that other machines publish are pulled when they are wanted, and so never count as lost.
    """
    here = Registry(settings.home.registry)
    is_pulled = settings.registry.storage is not None
    own = (one for one in state.certifications.all() if not (is_pulled and one.digest))
    drafting = [(one.task, one.version) for one in own if one.version is not None]
    return sorted((task, version) for task, version in drafting if here.is_lost(task, version))


def open_shared(settings: Settings, bases: SharedBases | None = None) -> SharedRegistry:
    """Return the registry of several machines; nothing is asked before it is used. Raises ConfigError.

    With `bases` a version comes with the base that it was trained on.
    """
    published = _open_published(settings, settings.registry.storage or "")
    if bases is None:
        return SharedRegistry(settings.home.registry, published)
    return SharedRegistry(settings.home.registry, published, require_base=bases.require_base)


def open_bases(settings: Settings) -> Registry:
    """Return the bases of decoders: this machine's own, or with those that the others have published."""
    return (
        Registry(settings.home.models) if settings.registry.storage is None else open_shared_bases(settings)
    )


def open_shared_bases(settings: Settings) -> SharedRegistry:
    """Return the bases of all machines, with those of this one. Raises ConfigError."""
    place = f"{(settings.registry.storage or '').rstrip('/')}/{BASES}"
    return SharedRegistry(settings.home.models, _open_published(settings, place))


def _open_published(settings: Settings, place: str) -> PublishedVersions:
    from gateway.registry.published import SETTING, PublishedVersions
    from gateway.store.object_storage import open_storage

    return PublishedVersions(open_storage(place, settings.registry.options, SETTING))
