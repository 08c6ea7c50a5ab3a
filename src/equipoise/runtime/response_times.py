"""The mean response time of the last 5 minutes.

Owns: the window over cumulative counts, and its mean.
Refuses to know: where the counts come from, what time it is, who reads the mean.
Called by: runtime/supervisor.py, which samples each second and publishes in between.
"""

from array import array
from typing import Final

# One sample a second.
SAMPLES: Final = 300


class MeanWindow:
    """What one target's cumulative counts were at the last samples.

    The mean over the window is a difference quotient, so it weighs each request alike, over all workers.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        self._size = samples
        self._next = 0
        # Not a deque of pairs: 500 targets would cost 18 MB that way, and 2.4 MB this way.
        self._total_ns = array("q")
        self._counts = array("q")

    def sample(self, total_ns: int, count: int) -> None:
        """Remember the cumulative counts of this moment, and forget those that left the window."""
        if len(self._counts) < self._size:
            self._total_ns.append(total_ns)
            self._counts.append(count)
        else:
            self._total_ns[self._next] = total_ns
            self._counts[self._next] = count
        self._next = (self._next + 1) % self._size

    def mean(self, total_ns: int, count: int) -> int:
        """Mean in nanoseconds from the oldest sample to the counts of this moment; 0 when nothing was counted since."""
        if not self._counts:
            return 0
        oldest = self._next if len(self._counts) == self._size else 0
        responses = count - self._counts[oldest]
        if responses <= 0:
            return 0
        # At least 1: 0 means that there is no sample.
        return max(1, (total_ns - self._total_ns[oldest]) // responses)
