"""The p-value of graded losses: what a bet against too high a risk has won.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", arXiv
2010.09686; stakes that aim at a target by the last audit: Voracek and Orabona 2025, "STaR-Bets", 2505.22422.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2


def betting_p_value(losses: Sequence[float], alpha: float, level: float) -> float:
    """Return the probability of so much won, at most, if the mean loss were `alpha` or more.

    `losses` (0..1) are (audits,): independent draws in an order that no loss has chosen. The money starts
    at 1 and is multiplied by 1 + stake * (alpha - loss); each stake is fixed before its loss is looked at.
    While the risk is `alpha` or more no stake wins on average, so the money ever reaches 1 / p with
    probability at most p, for every p (Ville's inequality). It is staked so as to reach 1 / `level` by the
    last audit, and no further: a test at another level is as valid, and has less power.
    """
    money = most = 1.0
    total, squares = 1.0, 1.0
    for number, loss in enumerate(losses):
        # The variance at the boundary, of losses that scatter as those seen so far and one whole loss.
        variance = alpha * max(squares / total - alpha, alpha)
        wanted = -math.log(level * money)
        stake = math.sqrt(2.0 * wanted / ((len(losses) - number) * variance))
        money *= 1.0 + min(stake, 1.0 / (1.0 - alpha)) * (alpha - loss)
        most = max(most, money)
        if not 0.0 < level * money < 1.0:
            break
        total += loss
        squares += loss * loss
    return max(level, 1.0 / most)


def spread_evenly(count: int) -> list[int]:
    """Return the places 0 to `count` - 1 in an order of which every beginning is spread over all of them.

    Bets in the order of time would be won for good by a quiet beginning, whatever came later.
    """
    return sorted(range(count), key=lambda place: place * _GOLDEN % 1.0)
