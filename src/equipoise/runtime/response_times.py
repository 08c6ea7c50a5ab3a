"""The mean response time of the last 5 minutes.

Owns: the window over cumulative counts, and its mean; a window for each slot.
Refuses to know: where the counts come from, what time it is, who reads the mean.
Called by: runtime/supervisor.py, which samples each second and publishes in between.
"""

from array import array
from collections.abc import Callable, Mapping
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


class Means:
    """A window for each slot that is in use."""

    def __init__(self, totals: Callable[[int], Mapping[str, int]], publish: Callable[[int, int], None]) -> None:
        """No slot is in use.

        Args:
            totals: the cumulative counts of a slot, with "response_ns" and "responses".
            publish: is told a slot and its mean, nanoseconds.
        """
        self._totals = totals
        self._publish = publish
        self._windows: dict[int, MeanWindow] = {}

    def publish(self, slots: set[int], *, sample: bool) -> None:
        """Publish the means of these slots, and forget all others; once a second, `sample` their counts."""
        for gone in self._windows.keys() - slots:
            del self._windows[gone]
        for slot in slots:
            totals = self._totals(slot)
            window = self._windows.setdefault(slot, MeanWindow())
            self._publish(slot, window.mean(totals["response_ns"], totals["responses"]))
            if sample:
                window.sample(totals["response_ns"], totals["responses"])
