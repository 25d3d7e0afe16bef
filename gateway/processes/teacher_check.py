"""Whether the teachers of the settings can be reached, take our keys, and have the models that we name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from gateway.errors import ConfigError, UpstreamCredentialError, UpstreamError
from gateway.processes.teachers import ONLY, create_teacher
from gateway.settings import Settings, Upstream
from gateway.upstream.base import Call
from gateway.upstream.teacher_settings import TeacherSettings

TIMEOUT_S = 10.0
MOST_LIST_BYTES = 4 << 20
_PLAIN = ((b"accept-encoding", b"identity"),)


class TeacherCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a teacher said to GET /v1/models; `problem` is empty if it can be used."""

    name: str
    base_url: str
    latency_ms: float = 0.0
    models: int | None = None
    """How many models it lists; None if it lists none that can be read."""
    missing: tuple[str, ...] = ()
    """Its models that our settings name and its list does not."""
    problem: str = ""
    is_unreachable: bool = False


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def check_all(settings: Settings, names: Sequence[str] = ()) -> list[TeacherCheck]:
    """Return the checks of all teachers, or of `names`, in order. Raises ConfigError for an unknown one."""
    known: dict[str, Upstream | TeacherSettings] = {one.name: one for one in settings.teachers}
    known = known or {ONLY: settings.upstream}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"unknown teacher '{unknown[0]}'; known: {', '.join(known)}")
    chosen = {name: one for name, one in known.items() if not names or name in names}
    return list(await asyncio.gather(*(check_teacher(name, one) for name, one in chosen.items())))


async def check_teacher(name: str, config: Upstream | TeacherSettings) -> TeacherCheck:
    """Return what one teacher says, asked once and not for long."""
    check = TeacherCheck(name=name, base_url=config.base_url)
    if isinstance(config, TeacherSettings) and config.api_key is None:
        problem = f"the environment does not hold its key in {config.credential}"
        return msgspec.structs.replace(check, problem=problem)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, listed = await _ask_for_models(config)
    except (UpstreamError, TimeoutError) as exc:
        is_refused = isinstance(exc, UpstreamCredentialError)
        problem = str(exc) or f"no answer in {TIMEOUT_S:.0f} s"
        return msgspec.structs.replace(check, problem=problem, is_unreachable=not is_refused)
    check = msgspec.structs.replace(check, latency_ms=(time.monotonic() - begun) * 1000)
    if status >= 400 and not (config.api_key is None and status in {401, 403}):
        return msgspec.structs.replace(check, problem=f"GET /v1/models answered {status}")
    if (ids := _read_ids(listed)) is None:
        return check
    named = set(config.models.values()) if isinstance(config, TeacherSettings) else set()
    return msgspec.structs.replace(check, models=len(ids), missing=tuple(sorted(named - ids)))


async def _ask_for_models(config: Upstream | TeacherSettings) -> tuple[int, bytes]:
    """Return status and body of the list of models, the body up to MOST_LIST_BYTES."""
    teacher = create_teacher(msgspec.structs.replace(config, retries=0))
    listed = b""
    try:
        reply = await teacher.ask(Call(method="GET", target=b"/v1/models", headers=_PLAIN))
        async for piece in reply.body:
            listed += piece
            if len(listed) > MOST_LIST_BYTES:
                break
        await reply.body.aclose()
        return reply.status, listed
    finally:
        await teacher.close()


def _read_ids(listed: bytes) -> set[str] | None:
    try:
        return {model.id for model in msgspec.json.decode(listed, type=_Models).data}
    except (ValueError, RecursionError):
        return None
