"""The model that a multipart form names, found while the form passes."""

from __future__ import annotations

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.errors import RequestError

MAX_MODEL_BYTES = 1024


class FormModel:
    """Follows a form piece by piece; `model` counts once `is_settled`.

    A form names its model before its first file, or is taken to name none: to wait for the end would be
    to hold back the whole upload. One that names it later after all, or twice, is refused while it passes,
    so that the teacher never has a whole form that was judged by another model. Raises RequestError then,
    and for a body that is no form.
    """

    def __init__(self, content_type: bytes) -> None:
        self.model = ""
        self.is_settled = False
        self._is_model = False
        self._value = b""
        self._has_model = False
        _, options = parse_options_header(content_type.decode("latin-1"))
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
                elif self._is_model:
                    self._value += event[:MAX_MODEL_BYTES]
        self.is_settled |= self._parser.closed

    def _begin_part(self, part: MultipartSegment) -> None:
        self._is_model = part.name == "model"
        self.is_settled |= part.filename is not None and not self._is_model
        if self._is_model and (self._has_model or self.is_settled):
            raise RequestError(
                "The form must name its `model` once, before its first file.",
                param="model",
                code="model_not_readable",
            )

    def _end_part(self) -> None:
        if self._is_model:
            self.model = self._value[:MAX_MODEL_BYTES].decode(errors="replace")
            self._has_model = self.is_settled = True
        self._is_model = False


class _Guard:
    """Turns the parser's errors into refusals."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, MultipartError):
            raise RequestError(f"We could not read the form in the body of your request: {exc}.") from exc
