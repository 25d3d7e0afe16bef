"""The models that a teacher lists, and the day on which it will retire each."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec

from gateway.upstream.base import Call
from gateway.upstream.compatible import CompatibleTeacher

MOST_LIST_BYTES = 4 << 20
_CALL = Call(
    method="GET", target=b"/v1/models", headers=((b"accept-encoding", b"identity"),), is_idempotent=True
)


class ModelList(msgspec.Struct, frozen=True):
    """The answer to GET /v1/models: the last day of each model by its name, None if none is announced."""

    status: int
    models: dict[str, date | None] | None = None
    """None if the answer cannot be read as a list."""


class _Deprecation(msgspec.Struct):
    inference: int | None = None


class _Model(msgspec.Struct):
    """OpenAI: `shutdown_date`. OpenRouter: `expiration_date`. Azure: unix seconds in `deprecation`."""

    id: str
    shutdown_date: object = None
    expiration_date: object = None
    deprecation: object = None

    @property
    def retires_on(self) -> date | None:
        """The announced day, None if there is none or it cannot be read."""
        for day in (self.shutdown_date, self.expiration_date):
            if isinstance(day, str):
                try:
                    return date.fromisoformat(day[:10])
                except ValueError:
                    continue
        try:
            seconds = msgspec.convert(self.deprecation, _Deprecation).inference
            return datetime.fromtimestamp(seconds, UTC).date() if seconds else None
        except (msgspec.ValidationError, OverflowError, OSError, ValueError):
            return None


class _Models(msgspec.Struct):
    data: list[_Model]


async def fetch_models(teacher: CompatibleTeacher) -> ModelList:
    """Return what the teacher lists, asked once. Raises UpstreamError."""
    reply = await teacher.ask(_CALL)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in reply.body:
            pieces.append(piece)
            size += len(piece)
            if size > MOST_LIST_BYTES:
                break
    finally:
        await reply.body.aclose()
    return ModelList(reply.status, _read_models(b"".join(pieces), teacher))


def _read_models(listed: bytes, teacher: CompatibleTeacher) -> dict[str, date | None] | None:
    try:
        models = msgspec.json.decode(listed, type=_Models).data
    except (ValueError, RecursionError):
        return None
    return {teacher.dialect.model_name(model.id): model.retires_on for model in models}
