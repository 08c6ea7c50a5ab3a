"""The ledger: counters in memory that all workers of the balancer share.

Owns: the layout of the block, who may write where, and the leases that stand for requests in flight.
Refuses to know: which target a slot stands for, what is done with the numbers.

Each cell has one writer, so there is no lock and no atomic: a worker writes its own row, and a sum over the rows is
the truth. In-flight cells are written at once, since every pick of every worker depends on them; cumulative ones are
gathered in the worker and written by `flush`, since only people and the supervisor read them. A 64-bit cell is written
by one aligned store (`memoryview.cast("q")[i] = x` was never seen torn; `struct.pack_into` was). When a worker dies the
supervisor zeroes the row's in-flight cells: its requests are gone, and so are its counts.

In-flight cells lie slot by slot, the rows of a slot side by side, so that one pool's cells are one stretch of memory.
"""

import mmap
from array import array
from typing import Final

from librt.vecs import vec
from mypy_extensions import i64, mypyc_attr

from equipoise.policy.balance import Loads
from equipoise.state.clients import ClientTable

# Cumulative fields of a target's slot, for each row.
STATUS: Final = 0  # 5 fields: answers by class, 1xx (101 only) to 5xx
FAILURES: Final = 5  # attempts that failed: no answer, or one that the pool counts as failure
BAD_ANSWERS: Final = 6  # those of them that were answers
RETRIES: Final = 7  # attempts that were tried again at another target
RESPONSE_NS: Final = 8  # sum of the times from the pick to the first byte of an answer
BYTES_IN: Final = 9
BYTES_OUT: Final = 10
ABORTED: Final = 11  # attempts that ended without an answer since the client left
HISTOGRAM: Final = 12  # response times; see BUCKETS_MS
BUCKETS_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000)
FIELDS: Final = 25
# Fields of a worker's own record.
WORKER_PID: Final = 0
WORKER_CONNECTIONS: Final = 1
WORKER_REQUESTS: Final = 2
WORKER_OWN_ANSWERS: Final = 3  # 5 fields: answers that the balancer itself gave, by class
WORKER_LOG_LINES: Final = 8
WORKER_LOG_DROPPED: Final = 9
WORKER_WAITING: Final = 10  # requests that wait for a target with room
WORKER_TUNNELS: Final = 11
WORKER_LIMITED: Final = 12  # a field for each of LIMITS: how often it was reached
LIMITS: Final = (
    "request_head",
    "header_count",
    "request_target",
    "request_body",
    "connections",
    "connections_per_client",
    "open_files",
    "streams",
    "tunnels",
    "head_timeout",
    "body_timeout",
    "idle_timeout",
    "connect_timeout",
    "response_timeout",
    "tunnel_timeout",
    "drain_timeout",
    "queue_size",
    "queue_timeout",
    "http2_flood",
    "http2_buffer",
)
LIMIT_FIELDS: Final = {name: WORKER_LIMITED + i for i, name in enumerate(LIMITS)}
WORKER_FIELDS: Final = 32
WORKER_NAMES: Final = {
    "pid": WORKER_PID,
    "connections": WORKER_CONNECTIONS,
    "requests": WORKER_REQUESTS,
    "log_lines": WORKER_LOG_LINES,
    "log_dropped": WORKER_LOG_DROPPED,
    "waiting": WORKER_WAITING,
    "tunnels": WORKER_TUNNELS,
    **{f"limited_{name}": field for name, field in LIMIT_FIELDS.items()},
}
# Above this many targets the other rows are read every REREAD_PICKS picks or REREAD_NS, whichever comes first: reading
# 500 targets of 4 workers at each pick would cost more than the head scan.
EXACT_TARGETS: Final = 64
REREAD_PICKS: Final = 10
REREAD_NS: Final = 1_000_000


class Ledger:
    """One process's view of the shared block."""

    def __init__(self, memory: mmap.mmap, rows: int, slots: int, row: int) -> None:
        """Lays the cells over the block; a worker takes up the cumulative counts of its predecessor.

        Args:
            memory: shared mapping of `Ledger.size(rows, slots)` bytes, zeroed when it was made.
            rows: how many workers there may be at once.
            slots: capacity for pools and targets.
            row: the row to write; -1 for the supervisor, which writes no row.
        """
        # Whether no other row is in use: what this one holds is all there is then, and shared memory need not be read.
        self.alone = rows == 1
        self.rows: i64 = rows
        self.slots: i64 = slots
        self.row: i64 = row
        self.view = memoryview(memory).cast("q")
        self._means: i64 = rows * slots
        self._workers: i64 = self._means + slots
        self._counters: i64 = self._workers + rows * WORKER_FIELDS
        self.clients = ClientTable(self.view, self._counters + rows * slots * FIELDS, rows, row)
        # What this row holds, kept here too: reading a native vector is ten times cheaper than reading shared memory.
        own = slots if row >= 0 else 0
        self._in_flight: vec[i64] = vec[i64]([0] * own)
        self._base: i64 = self._counters + row * slots * FIELDS
        start = int(self._base)
        self._own: vec[i64] = vec[i64](self.view[start : start + own * FIELDS].tolist())
        # Slots with counts that are not in shared memory yet.
        self._is_dirty: vec[i64] = vec[i64]([0] * own)
        self._dirty: list[int] = []

    @staticmethod
    def size(rows: int, slots: int) -> int:
        """Bytes of shared memory for so many workers and slots."""
        cells = rows * slots + slots + rows * WORKER_FIELDS + rows * slots * FIELDS
        return 8 * (cells + ClientTable.size(rows))

    def take(self, slot: i64) -> None:
        """One more in flight at a slot."""
        count = self._in_flight[slot] + 1
        self._in_flight[slot] = count
        self.view[slot * self.rows + self.row] = count

    def give(self, slot: i64) -> None:
        """One less in flight at a slot."""
        count = self._in_flight[slot] - 1
        self._in_flight[slot] = count
        self.view[slot * self.rows + self.row] = count

    def add(self, slot: i64, field: i64, amount: i64) -> None:
        """Adds to a cumulative field of a slot; others see it after the next `flush`."""
        self._own[slot * FIELDS + field] += amount
        if not self._is_dirty[slot]:
            self._is_dirty[slot] = 1
            self._dirty.append(int(slot))

    def flush(self) -> None:
        """Writes the cumulative counts that moved; called at each tick, and before anything is drawn from them."""
        dirty = self._dirty
        self._dirty = []
        for slot in dirty:
            self._is_dirty[slot] = 0
            at = slot * FIELDS
            counts = array("q", [self._own[i64(at + field)] for field in range(FIELDS)])
            start = int(self._base) + at
            self.view[start : start + FIELDS] = memoryview(counts)

    def count_answer(self, slot: i64, status: i64, elapsed_ns: i64) -> None:
        """Counts an answer of a target.

        Args:
            slot: the target's.
            status: 100 to 999; 600 and above count as 5xx.
            elapsed_ns: from the pick to the first byte of the answer.
        """
        kind = status // 100 - 1
        self.add(slot, STATUS + (kind if kind < 5 else 4), 1)
        self.add(slot, RESPONSE_NS, elapsed_ns)
        self.add(slot, HISTOGRAM + bucket(elapsed_ns), 1)

    def set_worker(self, field: i64, value: i64) -> None:
        """Writes a field of the own worker's record."""
        self.view[self._workers + self.row * WORKER_FIELDS + field] = value

    def connections(self) -> i64:
        """Open connections of clients, over all workers."""
        return self._over_workers(WORKER_CONNECTIONS)

    def tunnels(self) -> i64:
        """Open tunnels, over all workers."""
        return self._over_workers(WORKER_TUNNELS)

    def _over_workers(self, field: i64) -> i64:
        whole: i64 = 0
        row: i64 = 0
        while row < self.rows:
            whole += self.view[self._workers + row * WORKER_FIELDS + field]
            row += 1
        return whole

    def add_worker(self, field: i64, amount: i64) -> None:
        """Adds to a field of the own worker's record."""
        at = self._workers + self.row * WORKER_FIELDS + field
        self.view[at] = self.view[at] + amount

    def in_flight(self, slot: int) -> int:
        """Requests in flight at a slot, over all workers."""
        start = slot * int(self.rows)
        return sum(self.view[start : start + int(self.rows)].tolist())

    def totals(self, slot: int) -> dict[str, int]:
        """Cumulative counts of a slot over all workers.

        Returns:
            requests (attempts that ended), ok, failures, retries, responses, response_ns, bytes_in, bytes_out,
            status_1xx to status_5xx, and le_<ms>ms for each bucket of the response times (not cumulative over the
            buckets), le_inf last.
        """
        first = int(self._counters) + slot * FIELDS
        starts = [first + row * int(self.slots) * FIELDS for row in range(int(self.rows))]
        # The supervisor asks for every target four times a second: the loops are C's.
        sums: list[int] = list(map(sum, zip(*[self.view[at : at + FIELDS].tolist() for at in starts], strict=True)))
        responses = sum(sums[STATUS : STATUS + 5])
        failures = sums[FAILURES]
        bad = sums[BAD_ANSWERS]
        totals = {
            "requests": responses + failures - bad + sums[ABORTED],
            "ok": responses - bad,
            "failures": failures,
            "retries": sums[RETRIES],
            "responses": responses,
            "response_ns": sums[RESPONSE_NS],
            "bytes_in": sums[BYTES_IN],
            "bytes_out": sums[BYTES_OUT],
        }
        for kind in range(5):
            totals[f"status_{kind + 1}xx"] = sums[STATUS + kind]
        for i, bound in enumerate(BUCKETS_MS):
            totals[f"le_{bound}ms"] = sums[HISTOGRAM + i]
        totals["le_inf"] = sums[HISTOGRAM + len(BUCKETS_MS)]
        return totals

    def worker(self, row: int) -> dict[str, int]:
        """The record of a worker.

        Returns:
            pid, connections, tunnels, requests, log_lines, log_dropped, waiting, own_1xx to own_5xx, and limited_ with
            each name of `LIMITS` behind it.
        """
        start = int(self._workers) + row * WORKER_FIELDS
        cells = self.view[start : start + WORKER_FIELDS].tolist()
        record = {name: cells[field] for name, field in WORKER_NAMES.items()}
        for kind in range(5):
            record[f"own_{kind + 1}xx"] = cells[WORKER_OWN_ANSWERS + kind]
        return record

    def mean_ns(self, slot: i64) -> i64:
        """Mean response time that the supervisor published for a slot; 0 without a sample."""
        mean: i64 = self.view[self._means + slot]
        return mean

    def publish_mean(self, slot: int, mean_ns: int) -> None:
        """Supervisor only: the mean response time of the last 5 minutes over all workers."""
        self.view[int(self._means) + slot] = mean_ns

    def clear_row(self, row: int) -> None:
        """Supervisor only, when a worker is dead: its requests in flight are gone; its cumulative counts stay."""
        rows = int(self.rows)
        for slot in range(int(self.slots)):
            self.view[slot * rows + row] = 0
        for field in (WORKER_CONNECTIONS, WORKER_WAITING, WORKER_TUNNELS):
            self.view[int(self._workers) + row * WORKER_FIELDS + field] = 0
        self.clients.clear_row(row)

    def clear_slot(self, slot: int) -> None:
        """Supervisor only, before a slot is given to another target and no worker uses it: all its counts to zero."""
        rows = int(self.rows)
        self.publish_mean(slot, 0)
        for row in range(rows):
            self.view[slot * rows + row] = 0
            start = int(self._counters) + (row * int(self.slots) + slot) * FIELDS
            for field in range(FIELDS):
                self.view[start + field] = 0

    def reread_slot(self, slot: i64) -> None:
        """Worker only, when a slot is given to a new target: forgets what it counted there for the old one."""
        field: i64 = 0
        while field < FIELDS:
            at = slot * FIELDS + field
            self._own[at] = self.view[self._base + at]
            field += 1

    def row_in_flight(self) -> "vec[i64]":
        """What this row holds, by slot."""
        return self._in_flight


class PoolLoads(Loads):
    """`Loads` of the targets of one pool, read from the ledger."""

    def __init__(
        self, ledger: Ledger, pool_slot: int, slots: list[int], specs: tuple[list[str], list[int], list[int]]
    ) -> None:
        """Reads the ledger once.

        Args:
            ledger: the worker's.
            pool_slot: the pool's own column: each row counts its picks there.
            slots: the targets' columns.
            specs: names, weights and limits of the targets, as `Loads` takes them.
        """
        super().__init__(specs[0], specs[1], specs[2])
        self.ledger = ledger
        self.pool_slot: i64 = pool_slot
        self.slots: vec[i64] = vec[i64](slots)
        rows = int(ledger.rows)
        low = min([pool_slot, *slots])
        high = max([pool_slot, *slots])
        self.stretch = ledger.view[low * rows : (high + 1) * rows]
        self.offsets: vec[i64] = vec[i64]([(slot - low) * rows for slot in slots])
        self.pool_offset: i64 = (pool_slot - low) * rows
        self.picks_left: i64 = 0
        self.read_at: i64 = 0
        self.refresh(0)
        self.refresh_means()

    def refresh(self, now: i64) -> None:
        """See `Loads.refresh`."""
        if self.size > EXACT_TARGETS:
            if self.picks_left > 0 and now - self.read_at < REREAD_NS:
                self.picks_left -= 1
                return
            self.picks_left = REREAD_PICKS
            self.read_at = now
        if self.ledger.alone:
            self._refresh_alone()
            return
        rows = self.ledger.rows
        cells: vec[i64] = vec[i64](self.stretch)
        offsets = self.offsets
        total = self.total
        floor: i64 = 1 << 62
        at = self.pool_offset
        end = at + rows
        here: i64 = 0
        while at < end:
            here += cells[at]
            at += 1
        self.picks = here
        i: i64 = 0
        while i < self.size:
            at = offsets[i]
            end = at + rows
            here = 0
            while at < end:
                here += cells[at]
                at += 1
            total[i] = here
            floor = min(floor, here)
            i += 1
        self.floor = floor

    def _refresh_alone(self) -> None:
        """With one worker, what this row holds is all there is."""
        own = self.ledger.row_in_flight()
        slots = self.slots
        total = self.total
        floor: i64 = 1 << 62
        self.picks = own[self.pool_slot]
        i: i64 = 0
        while i < self.size:
            here = own[slots[i]]
            total[i] = here
            floor = min(floor, here)
            i += 1
        self.floor = floor

    def refresh_means(self) -> None:
        """Takes up the means that the supervisor published; called by the ticker."""
        i: i64 = 0
        while i < self.size:
            self.mean[i] = self.ledger.mean_ns(self.slots[i])
            i += 1

    def take(self, index: i64) -> "Lease":
        """Reserves one unit at a target: counted from now on, connecting included."""
        self.ledger.take(self.slots[index])
        self.ledger.take(self.pool_slot)
        self.total[index] += 1
        self.picks += 1
        return Lease(self, index)

    def is_overfull(self, index: i64, now: i64) -> bool:
        """Whether a target that was just taken has more than it may hold, since several workers took at once."""
        if not self.ledger.alone:
            self.picks_left = 0
            self.refresh(now)
        return self.total[index] > self.limit[index]

    def give(self, index: i64) -> None:
        """Gives one unit back; only `Lease.release` calls it."""
        self.ledger.give(self.slots[index])
        count = self.total[index] - 1
        self.total[index] = count
        self.floor = min(self.floor, count)


@mypyc_attr(acyclic=True)
class Lease:
    """One unit of in-flight held at a target, from the pick to the end of the exchange or its attempt."""

    def __init__(self, loads: PoolLoads, index: i64) -> None:
        self.loads = loads
        self.index = index
        self.held = True

    def release(self) -> None:
        """Gives the unit back; a second call does nothing."""
        if self.held:
            self.held = False
            self.loads.give(self.index)


def bucket(elapsed_ns: i64) -> i64:
    """Which bucket of `BUCKETS_MS` a response time falls into; the one behind the last is for all longer times."""
    if elapsed_ns <= 1_000_000:
        return 0
    # A time equal to a bound belongs below it, as the buckets' names say.
    ms = (elapsed_ns - 1) // 1_000_000
    i: i64 = 1
    for bound in BUCKETS_MS[1:]:
        if ms < bound:
            return i
        i += 1
    return i
