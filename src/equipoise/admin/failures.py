"""Failed authentications, counted for each client address.

Owns: how many an address may have, and for how many addresses that is remembered.
Refuses to know: what a failure is; HTTP.

A valid token is never refused for what others at its address do: only failures are limited.
"""

from collections import OrderedDict
from typing import Final

# A bucket for each address: so many at once, and so many more a second.
BURST: Final = 200.0
RATE: Final = 20.0
# The address that failed longest ago is forgotten first.
ADDRESSES: Final = 4096


class Failures:
    """A bucket of tokens for each address (a leaky bucket, turned round)."""

    def __init__(self) -> None:
        """Nobody has failed yet."""
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, address: str, now: float) -> float:
        """Count one failure.

        Args:
            address: where it came from.
            now: seconds, from any beginning.

        Returns:
            0 while the address is within its limit; otherwise the seconds until it is again.
        """
        level, since = self._buckets.pop(address, (BURST, now))
        level = min(BURST, level + (now - since) * RATE)
        wait = 0.0
        if level >= 1.0:
            level -= 1.0
        else:
            wait = (1.0 - level) / RATE
        self._buckets[address] = level, now
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return wait
