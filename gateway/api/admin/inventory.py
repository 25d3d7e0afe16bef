"""What there is, as JSON: settings, keys, tokens, models, teachers, objects, rows. Nothing is changed."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast

from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, QueryParameter

from gateway.api.admin.access import NEEDS
from gateway.harvest.reader import Stats
from gateway.store.objects import OwnedObject

AnyRequest = Request[Any, Any, Any]
LastRows = Annotated[int, QueryParameter(ge=1, le=1_000, description="How many, the newest last.")]


class Inventory(Protocol):
    """What one gateway has and is set to. Every method may block and is called in a thread."""

    def list_settings(self) -> list[dict[str, Any]]:
        """Return every setting with its value and origin, secrets masked."""

    def list_keys(self) -> list[dict[str, Any]]:
        """Return all keys, never the secrets."""

    def show_key(self, key: str) -> dict[str, Any]:
        """Return a key, by id or name, and what is used of its limits. Raises ConfigError."""

    def list_tokens(self) -> list[dict[str, Any]]:
        """Return the tokens of the admin plane, never the secrets."""

    def list_models(self) -> list[dict[str, Any]]:
        """Return the manifest of every base and of every version of every specialist."""

    def list_teachers(self) -> list[dict[str, Any]]:
        """Return the teachers in the order of asking."""

    def list_objects(self, tenant: str) -> list[OwnedObject]:
        """Return the objects that tenants made at the teacher; of all tenants if it is empty."""

    def report_harvest(self) -> Stats:
        """Return counts, times and size of the harvest."""

    def list_rows(self, task: str | None, last: int) -> list[dict[str, Any]]:
        """Return the newest rows, with their texts. Raises ConfigError for an unknown task."""

    def show_row(self, request_id: str) -> dict[str, Any] | None:
        """Return all that is kept of a request and was said of it, None if nothing is."""


@get("/admin/settings", sync_to_thread=True)
def list_settings(request: AnyRequest) -> list[dict[str, Any]]:
    """Every setting with its value and origin: `stepdown config show`."""
    return _inventory(request).list_settings()


@get("/admin/keys", sync_to_thread=True)
def list_keys(request: AnyRequest) -> list[dict[str, Any]]:
    """The keys that let clients in, never their secrets: `stepdown keys list`."""
    return _inventory(request).list_keys()


@get("/admin/keys/{key:str}", sync_to_thread=True)
def show_key(request: AnyRequest, key: FromPath[str]) -> dict[str, Any]:
    """What a key may do, its limits and what is used of them: `stepdown keys show`."""
    return _inventory(request).show_key(key)


@get("/admin/tokens", sync_to_thread=True)
def list_tokens(request: AnyRequest) -> list[dict[str, Any]]:
    """The tokens of this plane, never their secrets: `stepdown admin tokens list`."""
    return _inventory(request).list_tokens()


@get("/admin/models", sync_to_thread=True)
def list_models(request: AnyRequest) -> list[dict[str, Any]]:
    """Bases, and every version of every specialist: `stepdown models list`."""
    return _inventory(request).list_models()


@get("/admin/teachers", sync_to_thread=True)
def list_teachers(request: AnyRequest) -> list[dict[str, Any]]:
    """The teachers in the order of asking: `stepdown teachers list`."""
    return _inventory(request).list_teachers()


@get("/admin/objects", sync_to_thread=True)
def list_objects(request: AnyRequest, tenant: FromQuery[str] = "") -> list[OwnedObject]:
    """The objects that tenants made at the teacher: `stepdown objects list`."""
    return _inventory(request).list_objects(tenant)


@get("/admin/harvest", sync_to_thread=True)
def report_harvest(request: AnyRequest) -> Stats:
    """Counts, times and size of the harvest: `stepdown harvest stats`."""
    return _inventory(request).report_harvest()


@get("/admin/harvest/rows", sync_to_thread=True, opt={NEEDS: "content"})
def list_rows(
    request: AnyRequest, last: LastRows = 10, task: FromQuery[str | None] = None
) -> list[dict[str, Any]]:
    """The newest rows with their texts: `stepdown harvest tail`."""
    return _inventory(request).list_rows(task, last)


@get("/admin/harvest/rows/{request_id:str}", sync_to_thread=True, opt={NEEDS: "content"})
def show_row(request: AnyRequest, request_id: FromPath[str]) -> dict[str, Any]:
    """All that is kept of a request, and what was said of it: `stepdown harvest show`."""
    shown = _inventory(request).show_row(request_id)
    if shown is None:
        raise NotFoundException(f"No row of request {request_id[:64]} is kept.")
    return shown


HANDLERS = [
    list_settings, list_keys, show_key, list_tokens, list_models, list_teachers, list_objects,
    report_harvest, list_rows, show_row,
]  # fmt: skip


def _inventory(request: AnyRequest) -> Inventory:
    return cast("Inventory", request.app.state.inventory)
