"""The OTEL_* environment, read into the exports that it asks for.

All services of a machine share these variables, so none of them stops a start: what is not
supported is logged and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from gateway.telemetry.trace_context import Sampler, create_sampler

logger = logging.getLogger(__name__)

_KNOWN_EXPORTERS = frozenset({"otlp", "console"})
# /metrics is there anyway, and an empty value asks for nothing.
_NO_EXPORTERS = frozenset({"none", "prometheus", ""})
# OpenTelemetry's documented values, with those of its earlier instrumentations.
_CAPTURE = {
    "": False, "false": False, "no_content": False,
    "true": True, "span_only": True, "span_and_event": True,
}  # fmt: skip
_LONGEST_MS = 86_400_000.0  # a day
# OpenTelemetry's defaults.
_METRIC_INTERVAL_MS = 60_000.0
_MAX_SPANS, _BATCH_SPANS, _SPAN_LINGER_MS = 2048, 512, 5_000.0
_DEFAULT_SAMPLER = "parentbased_always_on"


class OtelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The exporters of spans and metrics; by default none, and nothing leaves the machine."""

    span_exporters: tuple[str, ...]
    metric_exporters: tuple[str, ...]
    sampler: Sampler
    captures_content: bool
    metric_interval_s: float
    max_spans: int
    """How many spans may wait for their export."""
    batch_spans: int
    span_linger_s: float
    """How long a span may wait until there are `batch_spans`."""


def read_otel_env(environ: Mapping[str, str]) -> OtelConfig:
    """Return what OTEL_* asks for; an endpoint alone asks for its signals, and so does an exporter's name."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    interval_ms = _number(environ, "OTEL_METRIC_EXPORT_INTERVAL", _METRIC_INTERVAL_MS, 1.0, _LONGEST_MS)
    max_spans = int(_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", _MAX_SPANS, 1, 1e6))
    batch_spans = int(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH_SPANS, 1, 1e6))
    linger_ms = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", _SPAN_LINGER_MS, 1.0, _LONGEST_MS)
    return OtelConfig(
        span_exporters=() if is_off else _exporters(environ, "TRACES"),
        metric_exporters=() if is_off else _exporters(environ, "METRICS"),
        sampler=_sampler(environ),
        captures_content=_captures(environ),
        metric_interval_s=interval_ms / 1000,
        max_spans=max_spans,
        batch_spans=min(batch_spans, max_spans),
        span_linger_s=linger_ms / 1000,
    )


def _exporters(environ: Mapping[str, str], signal: str) -> tuple[str, ...]:
    named = environ.get(f"OTEL_{signal}_EXPORTER")
    if named is None:
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        named = "otlp" if any(environ.get(name) for name in endpoints) else "none"
    asked = [name.strip().lower() for name in named.split(",")]
    for name in asked:
        if name not in _KNOWN_EXPORTERS | _NO_EXPORTERS:
            logger.warning("OTEL_%s_EXPORTER: unknown '%s'; known: console, none, otlp", signal, name)
    known = tuple(name for name in asked if name in _KNOWN_EXPORTERS)
    return known if _speaks_http(environ, signal) else tuple(name for name in known if name != "otlp")


def _speaks_http(environ: Mapping[str, str], signal: str) -> bool:
    name = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    protocol = environ.get(name) or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "http/protobuf":
        return True
    logger.warning("%s: '%s' is not supported, nothing is exported; known: http/protobuf", name, protocol)
    return False


def _sampler(environ: Mapping[str, str]) -> Sampler:
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or _DEFAULT_SAMPLER
    ratio = _number(environ, "OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0, 1.0)
    sampler = create_sampler(name, ratio)
    if sampler is None:
        logger.warning("OTEL_TRACES_SAMPLER: unknown sampler '%s'; %s is used", name, _DEFAULT_SAMPLER)
        sampler = create_sampler(_DEFAULT_SAMPLER, ratio)
    assert sampler is not None
    return sampler


def _captures(environ: Mapping[str, str]) -> bool:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    value = environ.get(name, "").strip().lower()
    if value not in _CAPTURE:
        logger.warning("%s: '%s' captures nothing here; known: NO_CONTENT, SPAN_ONLY", name, value)
    return _CAPTURE.get(value, False)


def _number(environ: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environ.get(name, "").strip()
    try:
        number = float(text or default)
    except ValueError:
        number = float("nan")
    if least <= number <= most:
        return number
    logger.warning("%s: '%s' refused; %g is used", name, text, default)
    return default
