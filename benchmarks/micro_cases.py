"""Single operations of the data path, timed in whichever mode this process runs; prints JSON.

Owns: the operations and their timing.
Refuses to know: which mode this is for: `micro` starts one process for each.
Called by: micro, as `python -m benchmarks.micro_cases`.

The loops are interpreted in both modes, so a figure holds one call from interpreted code for each named operation, some
50 ns each that the data path itself does not pay.
"""

import asyncio
import json
import mmap
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from benchmarks.model import REQUEST_HEADERS, body_path
from equipoise.model import AccessLogSpec, PoolSpec, TargetSpec, World
from equipoise.policy.balance import ALGORITHMS
from equipoise.proxy.access_log import AccessLog, JsonLog, Record, encode_line
from equipoise.proxy.data_path import DataPath
from equipoise.proxy.services import LogPort
from equipoise.proxy.upstream_http1 import UpstreamHttp1
from equipoise.state import ledger as ledger_module
from equipoise.state.ledger import Lease, Ledger, PoolLoads
from equipoise.wire.hpack import Decoder, Encoder
from equipoise.wire.http1 import RequestHead, ResponseHead

REPEATS = 7
REPEAT_S = 0.15
HELD = 32  # in flight at each worker
PICK_NS = 20_000  # between two picks of one worker, by the clock that the pick is given
SHAPES = tuple((targets, workers) for workers in (1, 4) for targets in (5, 50, 500))


def request_bytes() -> bytes:
    """A browser's head."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in REQUEST_HEADERS)
    return f"GET {body_path('100B')} HTTP/1.1\r\n{fields}\r\n".encode()


def response_bytes() -> bytes:
    """A head as nginx writes it."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html\r\n"
        b"Content-Length: 100\r\nConnection: keep-alive\r\nX-Target: 40001\r\nCache-Control: private, max-age=0\r\n\r\n"
    )


def best_ns(loop: Callable[[int], None]) -> float:
    """Nanoseconds for each turn of `loop(turns)`: the best of several, since whatever disturbs only adds."""
    turns = 100
    while (spent := timed(loop, turns)) < REPEAT_S / 4:
        turns *= 4
    turns = max(1, int(turns * REPEAT_S / spent))
    return min(timed(loop, turns) for _ in range(REPEATS)) / turns * 1e9


def timed(loop: Callable[[int], None], turns: int) -> float:
    """Seconds for so many turns."""
    began = time.perf_counter()
    loop(turns)
    return time.perf_counter() - began


def scan_request(turns: int) -> None:
    """Reads a whole request head; making the object is part of it."""
    data = request_bytes()
    for _ in range(turns):
        if not RequestHead(32768, 100, 8192).read(data):
            raise AssertionError("a whole head must be read")


def scan_response(turns: int) -> None:
    """Likewise a response head."""
    data = response_bytes()
    for _ in range(turns):
        if not ResponseHead(32768, 100).read(data):
            raise AssertionError("a whole head must be read")


def picks(targets: int, workers: int) -> Callable[[int], None]:
    """A loop of: refresh, pick, take, and release of the lease that is held longest."""
    slots = targets + 1
    memory = mmap.mmap(-1, Ledger.size(workers, slots))
    draw = random.Random(1)
    for row in range(1, workers):
        other = Ledger(memory, workers, slots, row)
        for _ in range(HELD):
            other.take(1 + draw.randrange(targets))
    names, ones, zeros = [f"t{n}" for n in range(targets)], [1] * targets, [0] * targets
    loads = PoolLoads(Ledger(memory, workers, slots, 0), 0, list(range(1, slots)), (names, ones, zeros))
    algorithm = ALGORITHMS["least_in_flight"](loads, draw.random)
    request = RequestHead(32768, 100, 8192)
    request.read(request_bytes())
    held: deque[Lease] = deque()
    for _ in range(HELD):
        loads.refresh(0)
        held.append(loads.take(algorithm.pick(request, 0, None)))

    def loop(turns: int) -> None:
        now = 0
        for _ in range(turns):
            now += PICK_NS
            loads.refresh(now)
            held.append(loads.take(algorithm.pick(request, now, None)))
            held.popleft().release()

    return loop


def header_blocks(kind: str) -> list[bytes]:
    """Header blocks of a gRPC client on one connection; the first one fills the table.

    Args:
        kind: `indexed`, 8 fields that all repeat; or `literal`, a path that is different each time among them.
    """
    encoder = Encoder()
    head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"greeter.example.com:8080")]
    head += [(b"content-type", b"application/grpc"), (b"user-agent", b"grpc-go/1.60.0"), (b"te", b"trailers")]
    if kind == "indexed":
        head += [(b"x-tenant", b"blue"), (b"grpc-accept-encoding", b"gzip")]
        return [encoder.encode(head) for _ in range(2)]
    return [encoder.encode([*head, (b":path", b"/helloworld.Greeter/%05d" % turn)]) for turn in range(5_000)]


def decode_blocks(kind: str) -> Callable[[int], None]:
    """A loop that reads header blocks of HTTP/2; `kind` as for `header_blocks`."""
    first, *blocks = header_blocks(kind)
    decoder = Decoder(4096, 32768)
    decoder.decode(first)

    def loop(turns: int) -> None:
        for turn in range(turns):
            decoder.decode(blocks[turn % len(blocks)])

    return loop


def encode_block(turns: int) -> None:
    """Writes the header block of 8 fields that all repeat."""
    decoder, encoder = Decoder(4096, 32768), Encoder()
    fields = [decoder.decode(block) for block in header_blocks("indexed")][-1]
    encoder.encode(fields)
    for _ in range(turns):
        encoder.encode(fields)


class Wire:
    """A transport that ends in nothing."""

    def __init__(self) -> None:
        self.write = deque[bytes](maxlen=1).append

    def get_extra_info(self, _: str) -> tuple[str, int]:
        """The address of whoever it is."""
        return ("127.0.0.1", 40000)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Takes any amount."""


def exchanges(log: str) -> Callable[[int], None]:
    """A loop of whole exchanges between transports in memory, with no kernel and no event loop.

    Args:
        log: `off`; `line`, the JSON sink as it is; or `record`, each line from a record, as other sinks get it.
    """
    memory = mmap.mmap(-1, Ledger.size(1, 8))
    path = DataPath(Ledger(memory, 1, 8, 0), asyncio.new_event_loop(), lambda *_: None)
    targets = [TargetSpec(f"t{n}", "", "127.0.0.1", 1, n, ("127.0.0.1",)) for n in range(1, 6)]
    path.apply(World((PoolSpec("default", 0, targets=tuple(targets)),), access_log=AccessLogSpec(enabled=False)))
    if log == "line":
        path.services.log = LogPort(Nowhere(), 4096, ())
    elif log == "record":
        path.services.log = LogPort(Encoded(), 4096, ())
    client = path.downstream()
    client.connection_made(Wire())
    upstreams = []
    for target in targets:
        upstream: Any = UpstreamHttp1(path.services, target.slot)
        upstream.connection_made(Wire())
        upstream.idle = True
        path.services.idle.put(upstream)
        upstreams.append(upstream)
    request, response = request_bytes(), response_bytes() + b"x" * 100

    def loop(turns: int) -> None:
        # One at a time, so the targets take turns, also from one loop to the next.
        for turn in range(turns // 5 * 5):
            client.data_received(request)
            upstreams[turn % 5].data_received(response)

    return loop


class Nowhere(JsonLog):
    """The JSON sink without its file."""

    def __init__(self) -> None:
        """Opens nothing."""

    def put(self, lines: bytes, count: int) -> None:
        """Drops them."""


class Encoded(AccessLog):
    """A sink that gets records and encodes each."""

    def write(self, record: Record) -> None:
        """As the JSON sink does with what is not plain."""
        encode_line(record)


def main() -> None:
    """Time everything."""
    figures = {
        f"scan, request head of {len(request_bytes())} B": best_ns(scan_request),
        f"scan, response head of {len(response_bytes())} B": best_ns(scan_response),
    }
    figures["HPACK, read 8 indexed fields"] = best_ns(decode_blocks("indexed"))
    figures["HPACK, read 7 fields, the path a new literal"] = best_ns(decode_blocks("literal"))
    figures["HPACK, write 8 indexed fields"] = best_ns(encode_block)
    for log, words in (("off", "no log"), ("line", "JSON log"), ("record", "JSON log, from records")):
        figures[f"exchange in memory, {words}"] = best_ns(exchanges(log))
    for targets, workers in SHAPES:
        name = f"pick, {targets} targets, {workers} {'worker' if workers == 1 else 'workers'}"
        figures[name] = best_ns(picks(targets, workers))
    compiled = not str(ledger_module.__file__).endswith(".py")
    sys.stdout.write(json.dumps({"compiled": compiled, "ns": figures}) + "\n")


if __name__ == "__main__":
    main()
