"""Plays a seeded corpus and prints what came of it, a line for each case: `python -m tests.support.play SEED`.

Owns: cases for everything that is compiled, made from one seed, and all that can be seen of their outcome.
Refuses to know: which mode it runs in, and what the outcome ought to be: tests/parity runs it in both and compares.
"""

import sys
from collections.abc import Callable, Iterator
from random import Random

import equipoise.errors
from equipoise.errors import ProxyError
from equipoise.policy.balance import ALGORITHMS, smooth_order
from equipoise.policy.retry import Budget
from equipoise.policy.routing import Route, Router
from equipoise.state.ledger import Lease, bucket
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead, ResponseHead
from tests.support.dialogue import Dialogue, limits, web
from tests.support.ledgers import alone, ledgers, pool_loads, request
from tests.support.transport import Peer

REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x:80\r\nContent-Length: 11\r\n\r\nhello world",
    b"PUT /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5;e\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"GET http://x/abs HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nVia: 1.0 a\r\nX-Request-Id: q\r\n\r\n",
    b"DELETE /\x80 HTTP/1.1\r\nHost: x\r\nX: \xff\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nSum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 503 Sorry\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe",
    b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
]
CHUNKED = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"a;name=value\r\n0123456789\r\n1\r\nx\r\n000\r\nA: b\r\nC: d\r\n\r\nGET",
    b"FFF\r\n" + b"z" * 0xFFF + b"\r\n0\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
]
POISON = [b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\xff", b"0", b"+", b"-", b"_", b";"]


def mutate(rng: Random, data: bytes) -> bytes:
    """The same bytes, or with a few of them changed, lost, doubled or poisoned."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.randrange(1, 6))
        what = rng.randrange(5)
        middle = data[at:to]
        if what == 0:
            middle = b""
        elif what == 1:
            middle += middle
        elif what == 2:
            middle = rng.choice(POISON) + middle
        elif what == 3:
            middle = bytes([rng.randrange(256)]) + middle[1:]
        else:
            middle = middle.swapcase()
        data = data[:at] + middle + data[to:]
    return data


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """Cut anywhere, now and then into single bytes."""
    size = rng.choice([1, 3, 17, 200, 10_000])
    cut = []
    while data:
        here = rng.randint(1, size)
        cut.append(data[:here])
        data = data[here:]
    return cut


def head_case(rng: Random, new: Callable[[], RequestHead | ResponseHead], source: list[bytes]) -> str:
    data = mutate(rng, rng.choice(source))
    head = new()
    seen = b""
    for piece in pieces(rng, data):
        seen += piece
        try:
            done = head.read(seen)
        except ProxyError as error:
            return f"{data!r} refused at {len(seen)}: {error.status} {error.detail}"
        if done:
            facts = {name: getattr(head, name, None) for name in FACTS}
            return f"{data!r} read to {head.at}: {facts} {head.keep}"
    return f"{data!r} incomplete"


FACTS = [
    *["method", "target", "host", "minor", "content_length", "chunked", "trailer", "close", "keep_alive", "upgrade"],
    *["request_id", "expect_continue", "forwarded_for", "via", "status"],
]


def chunked_case(rng: Random) -> str:
    data = mutate(rng, rng.choice(CHUNKED))
    reader = ChunkedReader(200, 3, rng.random() < 0.5)
    out = []
    for piece in pieces(rng, data):
        try:
            out.append(reader.feed(piece))
        except ProxyError as error:
            return f"{data!r} refused after {out}: {error.detail}"
        if reader.done:
            return f"{data!r} done: {out} {reader.rest!r}"
    return f"{data!r} incomplete: {out}"


def pick_case(rng: Random) -> str:
    """A history of picks by all workers of a pool."""
    name = rng.choice(sorted(ALGORITHMS))
    size = rng.choice([1, 2, 3, 5, 8, 70])
    weights = [rng.choice([1, 1, 1, 2, 3, 7]) for _ in range(size)] if rng.random() < 0.5 else [1] * size
    bounds = [rng.choice([0, 0, 1, 3]) for _ in range(size)] if rng.random() < 0.3 else [0] * size
    supervisor, rows = ledgers(2)
    loads = [pool_loads(row, weights, bounds) for row in rows]
    draw = Random(rng.random())
    algorithms = [ALGORITHMS[name](each, draw.random) for each in loads]
    leases: list[Lease] = []
    found = []
    now = 1_000_000_000_000
    head = request()
    for _ in range(100):
        now += rng.choice([0, 1_000, 300_000, 2_000_000_000])
        which = rng.randrange(2)
        if leases and rng.random() < 0.45:
            leases.pop(rng.randrange(len(leases))).release()
            continue
        if rng.random() < 0.1:
            supervisor.publish_mean(1 + rng.randrange(size), rng.randrange(1 << 40))
            loads[which].refresh_means()
        skip = rng.choice([None, None, [rng.randrange(size)]])
        loads[which].refresh(now)
        index = int(algorithms[which].pick(head, now, skip))
        found.append(index)
        if index >= 0:
            leases.append(loads[which].take(index))
    return f"{name} {weights} {bounds}: {found} {[supervisor.in_flight(i) for i in range(size + 1)]}"


def small_case(rng: Random) -> str:
    """What is too small for a case of its own."""
    budget = Budget(rng.choice([0.0, 0.1, 0.2, 1.0]))
    now = 5_000_000_000
    spent = []
    for _ in range(150):
        now += rng.choice([0, 0, 1_000_000, 90_000_000])
        if rng.random() < 0.4:
            budget.earn()
        spent.append(budget.spend(now))
    router = Router([Route(b"*.a.b", b"/x", "1"), Route(b"a.b", b"/", "2"), Route(b"", b"/y", "3")], None)
    host = mutate(rng, rng.choice([b"A.b:80", b"c.a.b", b"[::1]:8"]))
    path = mutate(rng, rng.choice([b"/x/y", b"/y?/x", b"/"]))
    elapsed = rng.randrange(1 << rng.randrange(1, 45))
    order = smooth_order([rng.randint(1, 1 << rng.randrange(1, 14)) for _ in range(rng.randint(1, 5))])
    stats = (sum(spent), router.match(host, path), bucket(elapsed), hash(tuple(order)), int(alone([1, 2]).size))
    return f"{host!r} {path!r} {elapsed}: {stats}"


class Talk:
    """A conversation of several clients with several targets, in any order, with anything going wrong."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.heard: list[str] = []
        bounds = limits(request_body=rng.choice([0, 8]), head_timeout=2, body_timeout=3, response_timeout=4)
        self.dialogue = Dialogue(web(algorithm=rng.choice(["round_robin", "least_in_flight"])), limits=bounds)
        self.dialogue.path.random.seed(1)
        self.clients = [self.dialogue.client() for _ in range(2)]
        self.targets: list[Peer] = []

    def play(self) -> str:
        rng = self.rng
        dialogue = self.dialogue
        for _ in range(rng.randrange(4, 16)):
            what = rng.randrange(14)
            peers = [peer for peer in (*self.clients, *self.targets) if not peer.transport.lost]
            if what < 4:
                self.say(rng.choice(self.clients), mutate(rng, rng.choice(REQUESTS)))
            elif what < 6 and dialogue.dials:
                self.targets.append(dialogue.accept())
            elif what < 9 and self.targets:
                self.say(rng.choice(self.targets), mutate(rng, rng.choice(ANSWERS)))
            elif what == 9 and dialogue.dials:
                dialogue.refuse()
            elif what in {10, 11}:
                self.go_well()
            elif what == 12:
                dialogue.pass_time(rng.choice([0.1, 2.5, 5]))
            elif peers:
                getattr(rng.choice(peers), rng.choice(["ends", "resets", "stops_reading", "reads_on"]))()
            self.note()
        lines = [str(record)[60:] for record in dialogue.records]
        totals = [dialogue.totals(name) for name in "abc"]
        in_flight = dialogue.in_flight
        dialogue.close()
        return f"{self.heard} {lines} {totals} {in_flight} {dialogue.reports} {len(dialogue.records)}"

    def go_well(self) -> None:
        """So that what goes wrong later finds connections that are idle, or in the middle of something."""
        self.say(self.clients[0], REQUESTS[0])
        if self.dialogue.dials:
            self.targets.append(self.dialogue.accept())
            self.say(self.targets[-1], ANSWERS[0])

    def say(self, peer: Peer, data: bytes) -> None:
        if not peer.transport.closing and None not in peer.transport.incoming:
            peer.says(*pieces(self.rng, data))

    def note(self) -> None:
        peers = [*self.clients, *self.targets]
        self.heard.append(" ".join(f"{peer!r}:{peer.hears()!r}" for peer in peers))


def request_head() -> RequestHead:
    return RequestHead(2_000, 12, 100)


def response_head() -> ResponseHead:
    return ResponseHead(2_000, 12)


CASES: dict[str, tuple[int, Callable[[Random], str]]] = {
    "request": (1_500, lambda rng: head_case(rng, request_head, REQUESTS)),
    "answer": (1_500, lambda rng: head_case(rng, response_head, ANSWERS)),
    "chunked": (1_500, chunked_case),
    "pick": (300, pick_case),
    "small": (300, small_case),
    "talk": (250, lambda rng: Talk(rng).play()),
}


def play(seed: int) -> Iterator[str]:
    for name, (count, case) in CASES.items():
        for number in range(count):
            yield f"{name} {number}: {case(Random(f'{seed} {name} {number}'))}"


if __name__ == "__main__":
    print("from", equipoise.errors.__file__)  # noqa: T201  (its standard output is what is compared)
    for line in play(int(sys.argv[1])):
        print(line)  # noqa: T201
