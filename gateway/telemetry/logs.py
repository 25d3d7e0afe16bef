"""Log records on stderr, as plain lines or as JSON, without keys."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO

import msgspec

# At INFO they log one line per request, although the Outcome says more, or how a server starts.
_NOISY = ("httpcore", "httpx", "httpx2", "openai", "uvicorn.access", "uvicorn.error")
# Its exporters log each failed try; `SpanQueue` and `MetricsPush` log when failing begins and ends.
_SILENT = ("opentelemetry",)
_SECRET = re.compile(r"\b(sk|sd)-[\w-]{8,}|(?<=Bearer )[^\s'\"]+", re.IGNORECASE)


def configure_logging(level: str = "INFO", *, is_json: bool = False, stream: IO[str] | None = None) -> None:
    """Send every log record of `level` and above to `stream` (stderr); replaces earlier handlers.

    Raises ValueError for an unknown level. Text that looks like a key is written as `***`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if is_json else PlainFormatter())
    root = logging.getLogger()
    root.setLevel(level.upper())
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class PlainFormatter(logging.Formatter):
    """One line per record: UTC time, level, logger, message; a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        line = f"{_time(record)} {record.levelname:7} {record.name}: {record.getMessage()}"
        return _without_keys(f"{line}\n{trace}" if (trace := _trace(self, record)) else line)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message and, after an error, trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _without_keys(record.getMessage()),
        }
        if trace := _trace(self, record):
            fields["trace"] = _without_keys(trace)
        return msgspec.json.encode(fields).decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


def _without_keys(text: str) -> str:
    return _SECRET.sub("***", text)
