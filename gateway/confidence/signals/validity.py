"""Whether an answer that begins like JSON is JSON: the teacher never answers in a broken form.

Source: DESIGN section 5, "validity first". AUROC: .502 on nl2regex;
none on SNIPS as JSON, where all drafts of a tagger are JSON.
"""

from __future__ import annotations

import msgspec

from gateway.core import Draft


def measure(draft: Draft) -> float | None:
    """Return 1.0 if it is, or never began like JSON, else 0.0."""
    text = draft.text.strip()
    if text[:1] not in ("{", "["):
        return 1.0
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return 0.0
    return 1.0
