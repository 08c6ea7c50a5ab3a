"""Where cached answers could live: shared memory of our own, LMDB, or a dictionary in each worker; prints JSON.

Owns: the same operations on each, and the hit ratio of the eviction beside plain LRU.
Refuses to know: what the cache does for an exchange.
Called by: nobody; `python -m benchmarks.cache_stores`, with `lmdb` installed for its rows. The loops are interpreted;
what is compiled of `equipoise.state` is, as the first line of the result says.
"""

import itertools
import json
import os
import random
import struct
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module

from benchmarks.micro_cases import best_ns
from equipoise.runtime.cache_memory import CacheMemory, open_store
from equipoise.state import cache_store
from equipoise.state.cache_record import Entry
from equipoise.state.cache_store import FAILED, Store

MIB = 1 << 20
MAX_BYTES = 64 * MIB
# Few enough for the small ring at either size: what is new and not asked for leaves early.
KNOWN = 300
SIZES = (100, 10_240)
HEAD = b"x" * 300
FAR = 1 << 60
# LMDB cannot even delete once its map is full, and pages of old versions stay for a while: more than this fraction of
# live entries ended in MDB_MAP_FULL.
LMDB_FILL = 0.4


def keys(count: int) -> list[bytes]:
    """Digests, as the policy makes them."""
    draw = random.Random(1)
    return [draw.randbytes(32) for _ in range(count)]


def own_store() -> Store:
    """An empty store for one worker of two."""
    memory = CacheMemory(2)
    return open_store(memory.files, memory.take(MAX_BYTES), 2, 0)


def measure_own(size: int) -> dict[str, float]:
    """Nanoseconds of each operation."""
    store = own_store()
    known = keys(KNOWN)
    entry = Entry(b"/path?query=1", HEAD, os.urandom(size), 1, FAR)
    for key in known:
        store.put(key, entry, 1)
    turn = itertools.count()
    fresh = struct.Struct("<QQ16x")

    def hit(turns: int) -> None:
        for index in range(turns):
            if store.get(known[index % KNOWN], 2) is None:
                raise AssertionError("stored, and gone")

    def miss(turns: int) -> None:
        for _ in range(turns):
            store.get(b"m" * 32, 2)

    def churn(turns: int) -> None:
        for _ in range(turns):
            number = next(turn) * 0x9E3779B97F4A7C15
            store.put(fresh.pack(number & (1 << 63) - 1, number >> 7 & (1 << 63) - 1), entry, 1)

    def claim(turns: int) -> None:
        for _ in range(turns):
            store.begin(b"c" * 32, 2, FAR, 0)
            store.end(b"c" * 32, 2, FAILED, 0)

    found = {"hit": best_ns(hit), "miss": best_ns(miss), "claim and its end": best_ns(claim)}
    churn(2 * MAX_BYTES // (size + 400))
    return {**found, "put, full": best_ns(churn)}


def measure_dict(size: int) -> dict[str, float]:
    """An `OrderedDict` as LRU in one process: the floor, and each worker has to fill its own."""
    known = keys(KNOWN)
    body = os.urandom(size)
    table: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict((key, (HEAD, body)) for key in known)
    turn = itertools.count()
    room = MAX_BYTES // (size + 400)

    def hit(turns: int) -> None:
        for index in range(turns):
            key = known[index % KNOWN]
            if table[key]:
                table.move_to_end(key)

    def miss(turns: int) -> None:
        for _ in range(turns):
            table.get(b"m" * 32)

    def churn(turns: int) -> None:
        for _ in range(turns):
            table[struct.pack("<Q24x", next(turn))] = (bytes(HEAD), bytes(body))
            if len(table) > room:
                table.popitem(last=False)

    return {"hit": best_ns(hit), "miss": best_ns(miss), "put, full": best_ns(churn)}


def measure_lmdb(size: int, stack: ExitStack) -> dict[str, float]:
    """LMDB under /dev/shm, nothing synced, first in first out by a second table: it has no eviction of its own."""
    lmdb = import_module("lmdb")
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
    env = lmdb.open(folder, map_size=MAX_BYTES, sync=False, metasync=False, writemap=True, meminit=False, max_dbs=2)
    stack.callback(env.close)
    table, order = env.open_db(b"table"), env.open_db(b"order", integerkey=True)
    known = keys(KNOWN)
    value = os.urandom(size + len(HEAD))
    turn = itertools.count(1)
    held = 0

    def put(key: bytes) -> None:
        nonlocal held
        with env.begin(write=True) as change:
            if held + len(value) > MAX_BYTES * LMDB_FILL:
                oldest = change.cursor(db=order)
                oldest.first()
                change.delete(oldest.value(), db=table)
                oldest.delete()
                held -= len(value)
            change.put(key, value, db=table)
            change.put(struct.pack("=Q", next(turn)), key, db=order, append=True)
            held += len(value)

    def hit(turns: int) -> None:
        for index in range(turns):
            with env.begin(db=table) as look:
                if look.get(known[index % KNOWN]) is None:
                    raise AssertionError("stored, and gone")

    def miss(turns: int) -> None:
        for _ in range(turns):
            with env.begin(db=table) as look:
                look.get(b"m" * 32)

    def churn(turns: int) -> None:
        draw = random.Random(held)
        for _ in range(turns):
            put(draw.randbytes(32))

    for key in known:
        put(key)
    found = {"hit": best_ns(hit), "miss": best_ns(miss)}
    churn(MAX_BYTES // (size + 400))
    return {**found, "put, full": best_ns(churn)}


def hit_ratios(requests: int, distinct: int) -> dict[str, float]:
    """Requests by Zipf's law (exponent 0.9), a scan of new keys among every other of them, over a tenth of the keys."""
    draw = random.Random(7)
    weights = list(itertools.accumulate((rank + 1) ** -0.9 for rank in range(distinct)))
    wanted = draw.choices([digest(number) for number in range(distinct)], cum_weights=weights, k=requests)
    entry = Entry(b"/", HEAD, b"y" * 600, 1, FAR)
    memory = CacheMemory(1)
    own = memory.store(memory.take(distinct // 10 * 1_024))
    lru: OrderedDict[bytes, None] = OrderedDict()
    hits = {"S3-FIFO": 0, "LRU": 0}
    for number, key in enumerate(wanted):
        for each in (key, digest(distinct + number)):
            if own.get(each, 2) is not None:
                hits["S3-FIFO"] += each is key
            else:
                own.put(each, entry, 1)
            if each in lru:
                lru.move_to_end(each)
                hits["LRU"] += each is key
            else:
                lru[each] = None
                if len(lru) > distinct // 10:
                    lru.popitem(last=False)
    return {name: count / requests for name, count in hits.items()}


def digest(number: int) -> bytes:
    """A key for a number."""
    return random.Random(number).randbytes(32)


def main() -> None:
    """Time everything."""
    figures: dict[str, object] = {"compiled": not str(cache_store.__file__).endswith(".py")}
    stores: dict[str, Callable[[int], dict[str, float]]] = {"own": measure_own, "dict": measure_dict}
    with ExitStack() as stack:
        try:
            import_module("lmdb")
        except ImportError:
            sys.stderr.write("lmdb is not installed: no rows of it\n")
        else:
            stores["lmdb"] = lambda size: measure_lmdb(size, stack)
        for name, size in itertools.product(stores, SIZES):
            figures[f"{name}, {size} B, ns"] = {what: round(ns) for what, ns in stores[name](size).items()}
    figures["hit ratio under a scan"] = hit_ratios(60_000, 20_000)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
