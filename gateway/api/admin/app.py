"""The admin application, on its own port: metrics and status, and all that the commands print, as JSON."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal, cast

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gateway import __version__
from gateway.api.admin.access import NEEDS, create_guard, may_read_texts, name_actor
from gateway.api.admin.inventory import HANDLERS, Inventory
from gateway.api.admin.models import Judgement, SampleCounts, SampleItem, TaskChange, TaskReport
from gateway.api.admin.plane import AdminPlane
from gateway.errors import ConfigError
from gateway.policy.explanation import Explanation
from gateway.store.audit_trail import Entry, Verdict
from gateway.store.decision_filter import Decision, DecisionFilter
from gateway.store.decision_record import DecisionRecord
from gateway.wire.errors import error_body

logger = logging.getLogger(__name__)

MOST_LISTED = 1_000

AnyRequest = Request[Any, Any, Any]
Last = Annotated[int, QueryParameter(ge=1, le=MOST_LISTED, description="How many, newest first.")]


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is changed, for those who look later."""

    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


NO_NOTE = Note()


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The better of two answers."""

    choice: Literal["a", "b", "same", "neither"]


class NewName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name that a task is to have."""

    name: str


def create_admin(plane: AdminPlane, inventory: Inventory, *, is_loopback: bool) -> Litestar:
    """Return the ASGI application behind the admin port.

    `is_loopback` says whether only this machine reaches it.
    """
    handlers = [
        show_metrics, show_status, show_health, list_decisions, show_decision, list_tasks, show_task,
        freeze_task, unfreeze_task, freeze_all, unfreeze_all, rename_task, acknowledge_alarm, report_costs,
        list_sample, judge, count_sample, list_changes, verify_trail, *HANDLERS,
    ]  # fmt: skip
    app = Litestar(
        handlers,
        guards=[create_guard(plane.find_token, is_loopback=is_loopback)],
        openapi_config=OpenAPIConfig(
            title="stepdown admin plane",
            version=__version__,
            path="/admin",
            # A page of documentation would load its scripts from elsewhere.
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        logging_config=None,
        after_request=_unify_not_found,
        exception_handlers={
            HTTPException: _refuse,
            ConfigError: _refuse_request,
            RecursionError: _refuse_deep,
            Exception: _report_failure,
        },
    )
    app.state.plane, app.state.inventory = plane, inventory
    return app


@get("/metrics", sync_to_thread=True)
def show_metrics(request: AnyRequest) -> Response[bytes]:
    """Prometheus text, summed over all workers."""
    return Response(_plane(request).render_metrics(), media_type="text/plain; version=0.0.4")


@get("/status", sync_to_thread=True)
def show_status(request: AnyRequest) -> dict[str, Any]:
    """Tasks, freezes, teachers, costs, the learner, and what waits or was dropped."""
    return _plane(request).report_status()


@get("/healthz", sync_to_thread=False, opt={NEEDS: None})
def show_health() -> dict[str, str]:
    """The admin plane is alive; nothing is said of the workers."""
    return {"status": "alive"}


@get("/admin/decisions", sync_to_thread=True)
def list_decisions(
    request: AnyRequest,
    *,
    last: Last = 20,
    policy: FromQuery[str | None] = None,
    task: FromQuery[str | None] = None,
    decision: FromQuery[Decision | None] = None,
    status: FromQuery[int | None] = None,
) -> list[DecisionRecord]:
    """The latest decisions: `stepdown why --last`."""
    return _plane(request).list_decisions(DecisionFilter(policy, task, decision, status), last)


@get("/admin/decisions/{request_id:str}", sync_to_thread=True)
def show_decision(request: AnyRequest, request_id: FromPath[str]) -> Explanation:
    """Why a request was answered as it was: `stepdown why REQUEST_ID`."""
    explanation = _plane(request).explain(request_id)
    if explanation is None:
        raise NotFoundException(f"No decision with the id {request_id[:64]} is kept.")
    return explanation


@get("/admin/tasks", sync_to_thread=True)
def list_tasks(request: AnyRequest) -> list[TaskReport]:
    """Every task: `stepdown tasks list`; the template's text needs the role `content`."""
    return [_to_visible(request, report) for report in _plane(request).list_tasks()]


@get("/admin/tasks/{task:str}", sync_to_thread=True)
def show_task(request: AnyRequest, task: FromPath[str]) -> TaskReport:
    """One task, by id or name: `stepdown tasks show`; the template's text needs the role `content`."""
    return _to_visible(request, _plane(request).show_task(task))


@post("/admin/tasks/{task:str}/freeze", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def freeze_task(request: AnyRequest, task: FromPath[str], data: JSONBody[Note] = NO_NOTE) -> TaskChange:
    """Have the teacher answer a task: `stepdown tasks freeze`."""
    return _plane(request).change_freeze(name_actor(request), task, data.note, is_frozen=True)


@post("/admin/tasks/{task:str}/unfreeze", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def unfreeze_task(request: AnyRequest, task: FromPath[str]) -> TaskChange:
    """End the freeze of a task: `stepdown tasks unfreeze`."""
    return _plane(request).change_freeze(name_actor(request), task, "", is_frozen=False)


@post("/admin/freeze", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def freeze_all(request: AnyRequest, data: JSONBody[Note] = NO_NOTE) -> TaskChange:
    """Have the teacher answer everything: `stepdown tasks freeze --all`."""
    return _plane(request).change_freeze(name_actor(request), None, data.note, is_frozen=True)


@post("/admin/unfreeze", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def unfreeze_all(request: AnyRequest) -> TaskChange:
    """End the freeze of all tasks: `stepdown tasks unfreeze --all`."""
    return _plane(request).change_freeze(name_actor(request), None, "", is_frozen=False)


@post("/admin/tasks/{task:str}/rename", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def rename_task(request: AnyRequest, task: FromPath[str], data: JSONBody[NewName]) -> TaskChange:
    """Give a task another name: `stepdown tasks rename`."""
    return _plane(request).rename_task(name_actor(request), task, data.name)


@post("/admin/tasks/{task:str}/ack", sync_to_thread=True, status_code=200, opt={NEEDS: "operate"})
def acknowledge_alarm(request: AnyRequest, task: FromPath[str], data: JSONBody[Note] = NO_NOTE) -> TaskChange:
    """Acknowledge the alarm of a task: `stepdown tasks ack`."""
    return _plane(request).acknowledge_alarm(name_actor(request), task, data.note)


@get("/admin/costs", sync_to_thread=True)
def report_costs(
    request: AnyRequest,
    by: FromQuery[Literal["day", "policy", "model", "key", "tenant", "task", "endpoint", "decision"]] = "day",
    since: FromQuery[str | None] = None,
) -> dict[str, Any]:
    """Dollars and requests of a period: `stepdown costs report`."""
    return _plane(request).report_costs(by, since)


@get("/admin/sample", sync_to_thread=True, opt={NEEDS: "content"})
def list_sample(request: AnyRequest, last: Last = 10, task: FromQuery[str | None] = None) -> list[SampleItem]:
    """Local answers beside the teacher's, not saying whose: `stepdown sample list`."""
    return _plane(request).list_sample(task, last)


@post("/admin/sample/{request_id:str}", sync_to_thread=True, status_code=200, opt={NEEDS: "content"})
def judge(request: AnyRequest, request_id: FromPath[str], data: JSONBody[Choice]) -> Judgement:
    """Say which answer is right: `stepdown sample judge`."""
    return _plane(request).judge(name_actor(request), request_id, data.choice)


@get("/admin/sample/stats", sync_to_thread=True)
def count_sample(request: AnyRequest) -> list[SampleCounts]:
    """Of each task the sample, and what people said: `stepdown sample stats`."""
    return _plane(request).count_sample()


@get("/admin/audit", sync_to_thread=True)
def list_changes(request: AnyRequest, last: Last = 20, about: FromQuery[str] = "") -> list[Entry]:
    """Who changed what: `stepdown audit list`, newest first."""
    return _plane(request).list_changes(last, about)


@get("/admin/audit/verify", sync_to_thread=True)
def verify_trail(request: AnyRequest, head: FromQuery[str] = "") -> Verdict:
    """Whether the audit trail is what was written: `stepdown audit verify`."""
    return _plane(request).verify_trail(head)


def _plane(request: AnyRequest) -> AdminPlane:
    return cast("AdminPlane", request.app.state.plane)


def _to_visible(request: AnyRequest, report: TaskReport) -> TaskReport:
    return report if may_read_texts(request) else msgspec.structs.replace(report, template_text="")


def _refuse(_: AnyRequest, exc: HTTPException) -> Response[bytes]:
    kind = "invalid_request_error"
    # What is wrong with which field is beside the message.
    faults = [each for each in exc.extra or () if isinstance(each, dict)] if exc.status_code == 400 else []
    named = [": ".join(str(each[name]) for name in ("key", "message") if each.get(name)) for each in faults]
    return _to_response("; ".join([exc.detail, *named]), exc.status_code, kind, exc.headers)


def _refuse_deep(_: AnyRequest, exc: RecursionError) -> Response[bytes]:
    return _to_response("The body is nested too deeply.", 400, "invalid_request_error")


async def _unify_not_found(response: Response[Any]) -> Response[Any]:
    """Answer as everywhere else what Litestar answers with a page beside its OpenAPI document."""
    if response.status_code == 404 and response.media_type == MediaType.HTML:
        return _to_response("Not Found", 404, "invalid_request_error")
    return response


def _refuse_request(_: AnyRequest, exc: ConfigError) -> Response[bytes]:
    return _to_response(str(exc), 400, "invalid_request_error")


def _report_failure(_: AnyRequest, exc: Exception) -> Response[bytes]:
    logger.error("the admin site failed", exc_info=exc)
    return _to_response("The admin site failed; its log says why.", 500, "server_error")


def _to_response(
    message: str, status: int, kind: str, headers: dict[str, str] | None = None
) -> Response[bytes]:
    return Response(error_body(message, kind), status_code=status, media_type=MediaType.JSON, headers=headers)
