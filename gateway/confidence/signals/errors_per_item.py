"""How many steps are expected to be wrong, per item of the answer: what a list loses by F1 if one is missed.

The product of all steps' probabilities, or their mean, says little of a graded loss: one doubtful
word costs a long list less than a short one. BC5CDR, `span`, 1,734 rows, escalation at a mean loss of 5 %
by set_f1: a head of the other signals 58.6 %, with this one 55.0 % (eight splits); exact: no difference.
"""

from __future__ import annotations

import math

from gateway.confidence.items import read_items
from gateway.core import Draft

_FEWEST = 1e-3
"""Fewer expected errors say nothing more."""


def measure(draft: Draft) -> float | None:
    """Return the negative logarithm of the expected errors per item, at most 6.9; None without a trace."""
    if draft.trace is None or not draft.trace.logprobs:
        return None
    errors = -sum(math.expm1(logprob) for logprob in draft.trace.logprobs)
    # One more item than there are: an empty list may lack one.
    return -math.log(max(_FEWEST, errors / (len(read_items(draft.text)) + 1)))
