"""Whether an answer which begins like JSON is JSON: a broken form is never the teacher's.

Source: DESIGN section 5, "validity first". AUROC: .502 on nl2regex;
none on SNIPS as JSON, where all drafts of a tagger are JSON.
"""

from __future__ import annotations

import msgspec

from gateway.core import Draft


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


def create(config: Config) -> Signal:
    """Return the signal."""
    return Signal()


class Signal:
    """See the module."""

    def __call__(self, draft: Draft) -> float | None:
        """Return 1.0 or 0.0."""
        text = draft.text.strip()
        if text[:1] not in ("{", "["):
            return 1.0
        try:
            msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return 0.0
        return 1.0
