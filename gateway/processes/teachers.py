"""The teachers that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from gateway.config.plugins import load_plugin
from gateway.config.typed import build_config
from gateway.core import Trainable
from gateway.errors import ConfigError
from gateway.settings import Settings, Upstream
from gateway.upstream.base import Teacher
from gateway.upstream.compatible import CompatibleTeacher
from gateway.upstream.fallback import FallbackTeacher, Member
from gateway.upstream.guarded import GuardedTeacher
from gateway.upstream.limited import LimitedTeacher
from gateway.upstream.teacher_settings import NO_CREDENTIAL, PROVIDERS, TeacherSettings
from gateway.upstream.transport import create_transport

ONLY = "teacher"
"""The name of the one teacher of `[upstream]`."""


def create_teachers(settings: Settings, instance: str = "") -> list[GuardedTeacher]:
    """Return the teachers in the order of asking. Raises ConfigError for one that cannot be called.

    `instance` names this gateway to other gateways on the way.
    """
    if not settings.teachers:
        return [create_teacher(settings.upstream, ONLY, instance)]
    require_credentials(settings)
    return [create_teacher(one, one.name, instance) for one in settings.teachers]


def require_credentials(settings: Settings) -> None:
    """Raise ConfigError if the environment does not hold the key of a teacher among several."""
    for one in settings.teachers:
        if one.api_key is None:
            raise ConfigError(
                f"teacher '{one.name}': the environment does not hold its key in {one.credential}; "
                'set it, or `credential = "none"` for a teacher that wants none'
            )


def create_teacher(
    config: Upstream | TeacherSettings, name: str = ONLY, instance: str = ""
) -> GuardedTeacher:
    """Return one teacher. Raises ConfigError for an unknown provider or option."""
    is_limited = config.max_in_flight is not None or config.adapts_in_flight
    kind = LimitedTeacher if is_limited else GuardedTeacher
    return kind(create_unguarded(config, name, instance), config, name=name)


def create_unguarded(
    config: Upstream | TeacherSettings, name: str = ONLY, instance: str = ""
) -> CompatibleTeacher:
    """Return one teacher that is asked once, whatever becomes of it. Raises like `create_teacher`."""
    provider = load_plugin(PROVIDERS, config.provider)
    options = build_config(provider.Config, config.options, f"options of teacher '{name}'")
    teacher: CompatibleTeacher = provider.create(config, create_transport(config), instance, options)
    return teacher


def combine_teachers(teachers: Sequence[GuardedTeacher], settings: Settings) -> Teacher:
    """Return `teachers` as one; that of `[upstream]` as it is, so that it costs nothing more."""
    if not settings.teachers:
        return teachers[0]
    return FallbackTeacher(
        [
            Member(
                teacher=teacher,
                models=one.models,
                is_trainable=one.trainable != "no",
                suspect_after_s=one.suspect_after_s,
            )
            for teacher, one in zip(teachers, settings.teachers, strict=True)
        ]
    )


class DescribedTeacher(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of the teachers says of one; `credential` says where its key comes from."""

    name: str
    provider: str
    base_url: str
    credential: str
    models: dict[str, str] = {}
    trainable: Trainable = "yes"
    retirements: dict[str, date] = {}
    """The last days of its models, as it last said."""


def list_terms(settings: Settings) -> dict[str, Trainable]:
    """Return by teacher what may be done with its answers."""
    if not settings.teachers:
        return {ONLY: settings.upstream.trainable}
    return {one.name: one.trainable for one in settings.teachers}


def describe_teachers(settings: Settings) -> list[DescribedTeacher]:
    """Return the teachers in the order of asking."""
    if not settings.teachers:
        only = settings.upstream
        own = "OPENAI_API_KEY" if only.api_key else "each client's own key"
        return [
            DescribedTeacher(
                name=ONLY,
                provider=only.provider,
                base_url=only.base_url,
                credential=own,
                trainable=only.trainable,
            )
        ]
    return [
        DescribedTeacher(
            name=one.name,
            provider=one.provider,
            base_url=one.base_url,
            credential="no key" if one.credential == NO_CREDENTIAL else one.credential,
            models=one.models,
            trainable=one.trainable,
        )
        for one in settings.teachers
    ]
