"""A request that we cannot read, for the teacher alone to judge."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Message, Request, SurfaceName
from gateway.errors import UnreadableBodyError
from gateway.wire.body import RawFields
from gateway.wire.content_encoding import content_codings
from gateway.wire.control_headers import read_control_headers

_raw_fields = msgspec.json.Decoder(RawFields)
_model = msgspec.json.Decoder(str)


def describe_unread(incoming: IncomingRequest, surface: SurfaceName, cause: UnreadableBodyError) -> Request:
    """Return `incoming` with as much as can be said without reading its body: it is for the teacher.

    The model is known if it stands where it should, so that policies and accounts see it. Raises `cause`
    if a model of ours is asked for, which none could answer, or if it is no JSON object that can be read.
    """
    mode, _ = read_control_headers(incoming.headers)
    is_encoded = incoming.decoded is None and bool(content_codings(incoming.headers))
    try:
        fields = {} if is_encoded else _raw_fields.decode(incoming.content)
    except (msgspec.DecodeError, RecursionError):
        # What is refused for its size alone has not been decoded before.
        raise cause from None
    model = _read_model(fields)
    if mode == "local" or model.startswith(OWN_PREFIX):
        raise cause
    # The bytes stand for the prompt, so that the answer is not accounted as free.
    text = "" if is_encoded else incoming.content.decode(errors="replace")
    return Request(
        **msgspec.structs.asdict(incoming),
        surface=surface,
        model=model,
        messages=(Message("user", text),),
        template="",
        contract_hash="",
        template_text="",
        text="",
        is_streamed=bytes(fields.get("stream", msgspec.Raw())) == b"true",
        mode=mode,
        may_harvest=False,
        is_stored=True,
        unsupported_reason=cause.reason,
    )


def _read_model(fields: RawFields) -> str:
    try:
        return _model.decode(fields["model"])
    except (KeyError, msgspec.ValidationError):
        return ""
