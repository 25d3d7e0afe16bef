"""The alarm: a Shiryaev-Roberts e-detector on the losses of audited answers.

Source: Shin, Ramdas, Rinaldo 2022, "E-detectors", arXiv 2203.03532.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MEAN_AUDITS_BETWEEN_FALSE_ALARMS = 2000.0

TARGETS = (2.0, 4.0, 8.0)
"""The risks to detect fastest, in multiples of alpha."""

_LARGEST_STAKE = 0.9


class EDetector:
    """Watches whether the mean loss is still at most `alpha`; one detector per certificate.

    While it is, the mean number of audits before a false alarm is at least
    `mean_between_false_alarms`, for any distribution of the losses.
    """

    def __init__(
        self,
        alpha: float,
        mean_between_false_alarms: float = MEAN_AUDITS_BETWEEN_FALSE_ALARMS,
        targets: Sequence[float] = TARGETS,
    ) -> None:
        self._limit = mean_between_false_alarms
        self._bets = [_Bet(_stake(alpha, min(alpha * target, 1.0)), alpha) for target in targets]
        self.is_alarmed = False
        self.changed_at = 0.0
        """Estimated time at which the losses became too high, unix seconds; set by the alarm."""

    def update(self, loss: float, at: float) -> bool:
        """Add the loss (0..1) of the audit made at `at`; return whether the alarm is raised."""
        if self.is_alarmed:
            return True
        for bet in self._bets:
            bet.update(loss, at)
        # The mean of e-detectors is an e-detector, so no bet has to be chosen beforehand.
        mean = sum(bet.evidence for bet in self._bets) / len(self._bets)
        if mean >= self._limit:
            self.is_alarmed = True
            self.changed_at = max(self._bets, key=lambda bet: bet.evidence).began_at
        return self.is_alarmed


class _Bet:
    """A bet of a fixed stake that the mean loss is above alpha, started again at every audit.

    `evidence` is the sum over all starts of the capital that each would have by now:
    M = (M + 1) * E with E = 1 + stake * (loss / alpha - 1). The mean of E is <= 1 while the
    risk is at most alpha.
    """

    def __init__(self, stake: float, alpha: float) -> None:
        self._stake = stake
        self._alpha = alpha
        self.evidence = 0.0
        self.began_at = 0.0
        self._rise = 0.0

    def update(self, loss: float, at: float) -> None:
        factor = 1.0 + self._stake * (loss / self._alpha - 1.0)
        self.evidence = (self.evidence + 1.0) * factor
        # CUSUM beside it: the start that wins most is the likeliest time of the change.
        if self._rise <= 0.0:
            self._rise, self.began_at = 0.0, at
        self._rise += math.log(factor)


def _stake(alpha: float, risk: float) -> float:
    """Return the stake that makes the capital grow fastest if the losses are 0/1 with mean `risk`."""
    return min((risk - alpha) / (1.0 - alpha), _LARGEST_STAKE)
