"""Who fetches what, for all workers: of many misses for one key, one asks a target and the others wait.

Owns: the claims of one shard: taking, keeping apart, and ending them.
Refuses to know: the lock (its caller holds it to take or end a claim), who waits, what becomes of the answer.

A claim has a deadline, so that whoever holds it may hang or die. A key whose answer turned out not to be shareable is
marked as passing until a time: requests for it do not wait for each other.
"""

import mmap
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from equipoise.state.cache_layout import CLAIM_CELLS, CLAIM_WAYS, ShardPlace

# What stands at a key.
FREE: Final = 0  # nobody fetches it
HELD: Final = 1  # somebody does
PASSING: Final = 2  # each is to fetch it alone

_NAME: Final = 0
_OWNER: Final = 1  # 0 nobody, row + 1 that worker, -1 passing
_SINCE: Final = 2
_UNTIL: Final = 3
_PASSING_OWNER: Final = -1


class Claims:
    """The claims of one shard, as one process sees them."""

    def __init__(self, memory: mmap.mmap, cells: memoryview, place: ShardPlace) -> None:
        """Looks at nothing yet; the arguments are those of `Shard`."""
        self._memory = memory
        self._cells = cells
        self._place = place

    def state(self, name: i64, now: i64) -> i64:
        """FREE, HELD or PASSING. Without the lock the answer is a hint.

        Args:
            name: the key's hash, not negative.
            now: monotonic clock, nanoseconds.
        """
        start = self._start(name)
        raw = self._memory[start : start + CLAIM_WAYS * CLAIM_CELLS * 8]
        at: i64 = 0
        while at < CLAIM_WAYS * CLAIM_CELLS * 8:
            owner = read_i64_le(raw, at + _OWNER * 8)
            if owner and read_i64_le(raw, at) == name and read_i64_le(raw, at + _UNTIL * 8) > now:
                return PASSING if owner == _PASSING_OWNER else HELD
            at += CLAIM_CELLS * 8
        return FREE

    def take(self, name: i64, row: i64, now: i64, until: i64) -> bool:
        """Writes a claim of a worker; false when all places of the key are taken by others.

        Args:
            name: the key's hash; nobody holds it.
            row: the worker.
            now: the beginning, by which `end` knows the claim again.
            until: its deadline.
        """
        return self._write(name, row + 1, now, until)

    def end(self, name: i64, row: i64, since: i64) -> bool:
        """Ends the claim that a worker took at a time; false when it is not there any more."""
        cell = self._find(name)
        if cell < 0 or self._cells[cell + _OWNER] != row + 1 or self._cells[cell + _SINCE] != since:
            return False
        self._cells[cell + _OWNER] = 0
        return True

    def let_pass(self, name: i64, now: i64, until: i64) -> None:
        """Nobody is to wait for this key until a time; as good as forgotten when all its places are taken."""
        self._write(name, _PASSING_OWNER, now, until)

    def release(self, row: i64) -> None:
        """Ends all claims of a worker: it is dead."""
        cell = self._place.claims // 8
        end = cell + self._place.claim_buckets * CLAIM_WAYS * CLAIM_CELLS
        while cell < end:
            if self._cells[cell + _OWNER] == row + 1:
                self._cells[cell + _OWNER] = 0
            cell += CLAIM_CELLS

    def _start(self, name: i64) -> i64:
        return self._place.claims + (name >> 16) % self._place.claim_buckets * CLAIM_WAYS * CLAIM_CELLS * 8

    def _find(self, name: i64) -> i64:
        """The first cell of the key's claim, live or not; -1 when there is none."""
        cell = self._start(name) // 8
        end = cell + CLAIM_WAYS * CLAIM_CELLS
        while cell < end:
            if self._cells[cell + _NAME] == name and self._cells[cell + _OWNER]:
                return cell
            cell += CLAIM_CELLS
        return -1

    def _write(self, name: i64, owner: i64, now: i64, until: i64) -> bool:
        cell = self._find(name)
        if cell < 0:
            cell = self._vacant(name, now)
        if cell < 0:
            return False
        cells = self._cells
        # Without an owner nobody reads the rest.
        cells[cell + _OWNER] = 0
        cells[cell + _NAME] = name
        cells[cell + _SINCE] = now
        cells[cell + _UNTIL] = until
        cells[cell + _OWNER] = owner
        return True

    def _vacant(self, name: i64, now: i64) -> i64:
        cell = self._start(name) // 8
        end = cell + CLAIM_WAYS * CLAIM_CELLS
        while cell < end:
            if not self._cells[cell + _OWNER] or self._cells[cell + _UNTIL] <= now:
                return cell
            cell += CLAIM_CELLS
        return -1
