"""How many connections each client has, over all workers.

Owns: which addresses count as one client, and the table of counts in shared memory.
Refuses to know: what is done with a client that has too many.

There is no bound on how many addresses there are, and there is one on this memory: the table is a count-min sketch
(Cormode and Muthukrishnan, 2005). Each client has a cell in either half, chosen by a hash; its count is the smaller of
the two. So it is never too small, and it is too large only where both cells are shared with clients that are there at
the same time. The hash has a key, so that nobody can choose addresses that fall on somebody else's cells.

As everywhere in the ledger each worker writes cells of its own, and a sum over the rows is the truth.
"""

import ipaddress
from hashlib import blake2b
from typing import Final

from mypy_extensions import i64

HALF: Final = 4096
"""Cells of either half, for each row: of 100 clients with many connections, one in 1,600 others shares both cells."""
NOBODY: Final = -1
"""The seat of a client without an address."""
_PREFIX: Final = 8  # octets of an IPv6 address that its network has given out as one (RFC 6177)


class ClientTable:
    """One process's view of the counts."""

    def __init__(self, view: memoryview, start: i64, rows: i64, row: i64) -> None:
        """Lays the cells over a part of the ledger.

        Args:
            view: the ledger's cells.
            start: the first one of the table, which has `size(rows)` of them.
            rows: how many workers there are.
            row: the row to write; -1 for the supervisor, which writes none.
        """
        self._view = view
        self._key: i64 = start
        self._cells: i64 = start + 1
        self._rows = rows
        self._row = row

    @staticmethod
    def size(rows: int) -> int:
        """Cells of the table for so many workers."""
        return 1 + 2 * HALF * rows

    def set_key(self, key: int) -> None:
        """Supervisor only, before there is a worker: the key of the hash, a number of 63 bits that nobody can guess."""
        self._view[int(self._key)] = key

    def seat(self, address: str) -> i64:
        """Where a client is counted.

        Args:
            address: of its connection, as the socket says it; empty when there is none.
        """
        if not address:
            return NOBODY
        key: int = self._view[int(self._key)]
        digest = blake2b(network_of(address), digest_size=3, key=key.to_bytes(8, "little")).digest()
        return int.from_bytes(digest, "little")

    def join(self, seat: i64) -> i64:
        """One more connection; how many the client has now, over all workers."""
        if seat == NOBODY:
            return 0
        first = self._cell(seat % HALF)
        second = self._cell(HALF + seat // HALF)
        self._view[first + self._row] += 1
        self._view[second + self._row] += 1
        return min(self._sum(first), self._sum(second))

    def here(self, seat: i64) -> i64:
        """How many of a client's connections are this worker's."""
        if seat == NOBODY:
            return 0
        first: i64 = self._view[self._cell(seat % HALF) + self._row]
        second: i64 = self._view[self._cell(HALF + seat // HALF) + self._row]
        return min(first, second)

    def leave(self, seat: i64) -> None:
        """One connection less."""
        if seat == NOBODY:
            return
        self._view[self._cell(seat % HALF) + self._row] -= 1
        self._view[self._cell(HALF + seat // HALF) + self._row] -= 1

    def clear_row(self, row: int) -> None:
        """Supervisor only, when a worker is dead: its connections are gone."""
        start, rows = int(self._cells), int(self._rows)
        for cell in range(start + row, start + 2 * HALF * rows, rows):
            self._view[cell] = 0

    def _cell(self, number: i64) -> i64:
        return self._cells + number * self._rows

    def _sum(self, cell: i64) -> i64:
        return sum(self._view[cell : cell + self._rows].tolist())


def network_of(address: str) -> bytes:
    """What counts as one client: an address of IPv4, or the /64 that one of IPv6 is in."""
    if ":" not in address:
        return address.encode()  # the system has one way to write it
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address.encode()
    mapped = parsed.ipv4_mapped
    return parsed.packed[:_PREFIX] if mapped is None else str(mapped).encode()
