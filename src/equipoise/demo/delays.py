"""How long a demo target takes to answer.

Owns: the distributions of the delay.
Refuses to know: clocks, requests, where the randomness comes from.
"""

import math
from enum import StrEnum
from random import Random
from typing import Final

# Width of the lognormal delay: at 0.5 one answer in twenty takes twice the mean or more, as real services do.
SIGMA: Final = 0.5


class Jitter(StrEnum):
    """The shape of the delays around their mean."""

    NONE = "none"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"


class Delays:
    """Draws delays; every shape keeps the mean it was given."""

    def __init__(self, mean_ms: float, jitter: Jitter, random: Random) -> None:
        self._mean_ms = mean_ms
        self._jitter = jitter
        self._random = random
        self._mu = math.log(mean_ms) - SIGMA * SIGMA / 2 if mean_ms > 0 else 0.0

    def draw(self) -> float:
        """The next delay in milliseconds."""
        mean_ms = self._mean_ms
        if mean_ms <= 0 or self._jitter is Jitter.NONE:
            return mean_ms
        if self._jitter is Jitter.UNIFORM:
            return self._random.uniform(0.5 * mean_ms, 1.5 * mean_ms)
        return self._random.lognormvariate(self._mu, SIGMA)
