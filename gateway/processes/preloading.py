"""A version is loaded before any certification names it: no request waits for it, and none is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec

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
        """See CertificationStore; may also wait for the model host, where one runs. Raises RegistryError."""
        certification = self._with_digest(certification)
        if certification.version is not None:
            with suppress(StepdownError):
                asyncio.run(self._load(certification.task, certification.version))
        is_put = self._publish(epoch, certification)
        self.refresh()
        return is_put

    def _with_digest(self, certification: Certification) -> Certification:
        """Pin the version for other machines: neither a storage nor a number may say what serves."""
        task, version = certification.task, certification.version
        known = self.of(task)
        if version is None:
            digest = ""
        elif version == known.version:
            digest = known.digest
        else:
            digest = self._registry.digest(task, version)
        return msgspec.structs.replace(certification, digest=digest)

    async def _load(self, task: str, version: int) -> None:
        client = HostClient(self._home.host_socket)
        try:
            # Without a host (`stepdown learn run` by hand) the workers load it when they start.
            if await client.open(wait_s=1.0):
                await client.load(task, version, self._registry.folder(task, version))
        finally:
            await client.close()
