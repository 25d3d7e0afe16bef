"""The name by which a teacher knows the model that a client has asked for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.upstream.base import Call

ANY = "*"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def rename_model(call: Call, models: Mapping[str, str]) -> Call:
    """Return `call` with the teacher's name for its model, else as it was; ANY names every other model.

    All other fields keep their bytes. A body that is no JSON object, or is encoded, passes unchanged.
    """
    if not isinstance(call.body, bytes) or not call.body:
        return call
    try:
        fields = _fields.decode(call.body)
        asked = msgspec.json.decode(fields["model"], type=str)
    except (ValueError, KeyError, RecursionError):
        return call
    name = models.get(asked) or models.get(ANY)
    if name is None or name == asked:
        return call
    fields["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.structs.replace(call, body=msgspec.json.encode(fields))
