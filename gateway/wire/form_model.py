"""The model and the objects that a multipart form names, found while the form passes."""

from __future__ import annotations

import re

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.errors import RequestError
from gateway.wire.object_ids import find_ids_of_field, may_name_object

MAX_VALUE_BYTES = 64 << 10
MAX_MODEL_CHARS = 1024

# Parsers differ in which of two names they take, and in `name*=` and `name*0=`.
_NAMES = re.compile(r";\s*name\s*[*\d]*\s*=", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLAIN_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})


class FormModel:
    """Follows a form piece by piece; `model` and `object_ids` count once it `is_settled`.

    A form names both before its first file, or is taken to name none: to wait for the end would be
    to hold back the whole upload. One that names them later after all, or its model twice, is refused
    while it passes, so that the teacher never has a whole form that was judged by another model. Raises
    RequestError then, and for a body that is no form, or one that two parsers read differently.
    """

    def __init__(self, content_type: bytes) -> None:
        self.model = ""
        self.object_ids: tuple[str, ...] = ()
        self.is_settled = False
        self.has_model = False
        self._field = ""
        self._value = b""
        _, options = parse_options_header(content_type.decode("latin-1"))
        is_plain = options.get("charset", "utf-8").lower() in _PLAIN_CHARSETS
        if not is_plain or content_type.lower().count(b"boundary") != 1:
            raise _unreadable("its content-type must name one boundary, and no charset but UTF-8")
        self._guard = _Guard()
        with self._guard:
            self._parser = PushMultipartParser(options.get("boundary", ""))

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the form."""
        with self._guard:
            for event in self._parser.parse(piece):
                if isinstance(event, MultipartSegment):
                    self._begin_part(event)
                elif event is None:
                    self._end_part()
                elif self._field:
                    self._value += event
                    if len(self._value) > MAX_VALUE_BYTES:
                        raise _unreadable(f"its field '{self._field[:100]}' is too long")

    def settle(self, *, is_over: bool) -> None:
        """Take no model and no object from now on; a form that `is_over` must be whole."""
        self.is_settled = True
        if is_over:
            with self._guard:
                self._parser.close()

    def _begin_part(self, part: MultipartSegment) -> None:
        _require_one_name(part)
        is_model = part.name == "model"
        is_field = is_model or (not part.filename and may_name_object(part.name))
        self._field = part.name if is_field else ""
        self._value = b""
        if is_field and (self.is_settled or (is_model and self.has_model)):
            raise RequestError(
                f"The form must name its `{part.name[:100]}` once, before its first file.",
                param=part.name[:100],
                code="model_not_readable" if is_model else "object_not_readable",
            )
        self.has_model |= is_model
        self.is_settled |= part.filename is not None and not is_field

    def _end_part(self) -> None:
        if not self._field:
            return
        try:
            value = self._value.decode()
        except UnicodeDecodeError as exc:
            raise _unreadable(f"its field '{self._field[:100]}' is not valid UTF-8") from exc
        if self._field == "model":
            if not value.isprintable() or len(value) > MAX_MODEL_CHARS:
                raise _unreadable("its model is no name")
            self.model = value
        else:
            self.object_ids += find_ids_of_field(self._field, value)
        self._field = ""


def _require_one_name(part: MultipartSegment) -> None:
    """Refuse a part that another parser would read differently in its name or value."""
    dispositions = [value for name, value in part.headerlist if name.lower() == "content-disposition"]
    is_plain = str(part.header("content-transfer-encoding", "")).strip().lower() in _PLAIN_ENCODINGS
    is_plain &= part.filename is not None or (part.charset or "utf-8").lower() in _PLAIN_CHARSETS
    has_one_name = bool(part.name) and len(dispositions) == 1 and _count_names(dispositions[0]) == 1
    if not (has_one_name and is_plain) or "\\" in part.name:
        raise _unreadable(f"its part '{part.name[:100]}' has no name or encoding that all readers agree on")


def _count_names(disposition: str) -> int:
    return len(_NAMES.findall(_QUOTED.sub("", disposition)))


def _unreadable(why: str) -> RequestError:
    return RequestError(f"We could not read the form in the body of your request: {why}.")


class _Guard:
    """Turns the parser's errors into refusals."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, MultipartError):
            raise _unreadable(str(exc)) from exc
