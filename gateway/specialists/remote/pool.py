"""The engines elsewhere that the specialists of one process use, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.identity import Identity
from gateway.specialists.remote.prompt import Prompt

if TYPE_CHECKING:
    from gateway.specialists.remote.engine import RemoteEngine


class RemoteEngines:
    """Opens engines by name as they are needed; every method may be called from any thread, and blocks.

    Without one in use there is no thread, and no HTTP client is imported.
    """

    def __init__(self, configs: Mapping[str, EngineConfig] | None = None) -> None:
        self._configs = configs or {}
        self._lock = threading.Lock()
        self._engines: dict[str, RemoteEngine] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def config_of(self, name: str) -> EngineConfig:
        """Return the settings of an engine. Raises RegistryError with the known names."""
        try:
            return self._configs[name]
        except KeyError:
            known = ", ".join(sorted(self._configs)) or "none"
            raise RegistryError(
                f"there is no engine {name!r} in [specialists.engines]; known: {known}"
            ) from None

    def draft(self, name: str, prompt: Prompt, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return a draft of the engine `name`; a cancelled one stops there at once.

        Raises SpecialistError as RemoteEngine.draft does, and "cancelled".
        """
        engine, loop = self._open(name)
        future = asyncio.run_coroutine_threadsafe(engine.draft(prompt, draft_request, listener), loop)

        def cancel() -> None:
            future.cancel()

        listener.add_cancel_callback(cancel)
        try:
            return future.result()
        except CancelledError:
            raise SpecialistError("cancelled") from None

    def identify(self, name: str) -> Identity:
        """Return the model that the engine `name` runs now. Raises SpecialistError."""
        engine, loop = self._open(name)
        return asyncio.run_coroutine_threadsafe(engine.identify(), loop).result()

    def close(self) -> None:
        """Close all connections; drafts in progress fail."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            for engine in self._engines.values():
                asyncio.run_coroutine_threadsafe(engine.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            self._engines.clear()
            self._loop = self._thread = None

    def _open(self, name: str) -> tuple[RemoteEngine, asyncio.AbstractEventLoop]:
        from gateway.specialists.remote.engine import RemoteEngine

        config = self.config_of(name)
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="remote-engines", daemon=True
                )
                self._thread.start()
            if name not in self._engines:
                self._engines[name] = asyncio.run_coroutine_threadsafe(
                    _create(RemoteEngine, config), self._loop
                ).result()
            return self._engines[name], self._loop


async def _create(kind: type[RemoteEngine], config: EngineConfig) -> RemoteEngine:
    """Create an engine on the loop that it will run on."""
    return kind(config)
