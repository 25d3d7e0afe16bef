"""A version is loaded before any certification names it: no request waits for it, and none is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.core import Certification
from gateway.errors import StepdownError
from gateway.registry.models import Registry
from gateway.specialists.client.client import HostClient
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from gateway.store.home import Home


class PreloadingCertificationStore(CertificationStore):
    """A CertificationStore that has the model host load a version before any certification names it."""

    def __init__(
        self,
        database: Database,
        home: Home,
        registry: Registry,
        publish: Callable[[int, Certification], bool] | None = None,
    ) -> None:
        """`publish` takes the place of the write to the disk, where other machines must agree."""
        super().__init__(database)
        self._publish = publish or super().put_if
        self._home = home
        self._registry = registry

    def put_if(self, epoch: int, certification: Certification) -> bool:
        """See CertificationStore; may also wait for the model host, where one runs."""
        if certification.version is not None:
            with suppress(StepdownError):
                asyncio.run(self._load(certification.task, certification.version))
        is_put = self._publish(epoch, certification)
        self.refresh()
        return is_put

    async def _load(self, task: str, version: int) -> None:
        client = HostClient(self._home.host_socket)
        try:
            # Without a host (`stepdown learn run` by hand) the workers load it when they start.
            if await client.open(wait_s=1.0):
                await client.load(task, version, self._registry.folder(task, version))
        finally:
            await client.close()
