"""Whether the teachers of the settings can be reached, take our keys, and have the models that we name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from gateway.errors import ConfigError, UpstreamCredentialError, UpstreamError
from gateway.processes.teachers import ONLY, create_unguarded
from gateway.settings import Settings, Upstream
from gateway.upstream.base import Call
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.model_list import ModelList, fetch_models
from gateway.upstream.teacher_settings import TeacherSettings

TIMEOUT_S = 10.0
NOTICE = timedelta(days=90)
"""How long before a retirement it is told of where the settings name no models."""


class TeacherCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a teacher said to GET /v1/models; `problem` is empty if it can be used."""

    name: str
    base_url: str
    latency_ms: float = 0.0
    models: int | None = None
    """How many models it lists; None if it lists none that can be read."""
    missing: tuple[str, ...] = ()
    """Its models that our settings name and its list does not."""
    retirements: dict[str, date] = {}
    """The last day of models that our settings name; where they name none, of those that retire soon."""
    problem: str = ""
    is_unreachable: bool = False


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
            listed = await _ask_for_models(config, name)
    except (UpstreamError, TimeoutError) as exc:
        is_refused = isinstance(exc, UpstreamCredentialError)
        problem = str(exc) or f"no answer in {TIMEOUT_S:.0f} s"
        return msgspec.structs.replace(check, problem=problem, is_unreachable=not is_refused)
    check = msgspec.structs.replace(check, latency_ms=(time.monotonic() - begun) * 1000)
    if listed.status >= 400 and not (config.api_key is None and listed.status in {401, 403}):
        return msgspec.structs.replace(check, problem=f"GET /v1/models answered {listed.status}")
    if listed.models is None:
        return check
    named = set(config.models.values()) if isinstance(config, TeacherSettings) else set()
    return msgspec.structs.replace(
        check,
        models=len(listed.models),
        missing=tuple(sorted(named - listed.models.keys())),
        retirements=select_retirements(listed.models, named, date.today()),
    )


def select_retirements(models: dict[str, date | None], named: set[str], today: date) -> dict[str, date]:
    """Return the last days of `named` models, or of those that retire within NOTICE; the nearest first."""
    chosen = {
        model: day
        for model, day in models.items()
        if day and (model in named if named else today <= day <= today + NOTICE)
    }
    return dict(sorted(chosen.items(), key=lambda each: (each[1], each[0])))


async def _ask_for_models(config: Upstream | TeacherSettings, name: str) -> ModelList:
    teacher = create_unguarded(config, name)
    try:
        if config.api_key is not None and teacher.dialect.key_target != b"/v1/models":
            await _try_key(teacher)
        return await fetch_models(teacher)
    finally:
        await teacher.close()


async def _try_key(teacher: CompatibleTeacher) -> None:
    """Raise UpstreamCredentialError if the key is refused: this list of models is anyone's to read."""
    reply = await teacher.ask(Call(method="GET", target=teacher.dialect.key_target, headers=()))
    await reply.body.aclose()
