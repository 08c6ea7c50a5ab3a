"""What one client's request has fetched serves all, in whichever worker they are; what failed serves nobody."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, fetch, get
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer, says

CACHE = "/v1/pools/default/cache"
ON = '[pools.default.cache]\nenabled = true\nttl = "1h"'
BY_RFC9111 = ON + '\nmode = "rfc9111"'
KEPT = "Cache-Control: max-age=3600"

Start = Callable[..., Balancer]


@pytest.fixture
def start(balance: Balance) -> Start:
    """Starts a balancer with a cache before targets."""

    def begin(*targets: object, pool: str = ON, workers: int = 2) -> Balancer:
        return balance(list(targets), Setting(workers=workers, admin=True, pool=pool))  # type: ignore[arg-type]

    return begin


def gated(gate: Gate) -> Script:
    """Answers once the gate is open."""

    async def script(call: Call) -> None:
        await call.body()
        await gate.passed()
        await call.send(answer("200 OK", b"for all"))

    return script


def followed(balancer: Balancer, count: int) -> None:
    """Returns when so many wait for the fetch of another."""
    admin = Admin(balancer)
    eventually(lambda: admin.done("GET", CACHE)["followed"], lambda seen: seen >= count)


def workers_of(balancer: Balancer, clients: list[Client]) -> Counter[int]:
    """How many of the clients each worker has, by process id."""
    ports = {client.sock.getsockname()[1] for client in clients}
    found: Counter[int] = Counter()
    for pid in balancer.workers:
        inodes = set()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            cells = line.split()
            found[pid] += cells[9] in inodes and int(cells[2].partition(":")[2], 16) in ports
    return found


def test_a_thousand_identical_misses_over_all_workers_make_one_request(stage: Stage, start: Start) -> None:
    gate = stage.gate()
    target = stage.target(gated(gate))
    balancer = start(target)
    clients = [Client(balancer.port).send(GET) for _ in range(1_000)]
    assert len(+workers_of(balancer, clients)) == 2
    followed(balancer, 999)
    gate.open()
    assert Counter(client.answer().body for client in clients) == {b"for all": 1_000}
    assert len(target.requests) == 1
    balancer.wait_idle()


def test_a_thousand_identical_misses_of_a_variant_make_one_request(stage: Stage, start: Start) -> None:
    gate = stage.gate()

    async def varies(call: Call) -> None:
        language = str(call.request.get("accept-language"))
        if language == "en":
            await gate.passed()
        await call.send(answer("200 OK", language.encode(), KEPT, "Vary: Accept-Language"))

    target = stage.target(varies)
    balancer = start(target, pool=BY_RFC9111)
    assert fetch(balancer.port, get("/", "Accept-Language: de")).body == b"de"
    clients = [Client(balancer.port).send(get("/", "Accept-Language: en")) for _ in range(1_000)]
    followed(balancer, 999)
    gate.open()
    assert Counter(client.answer().body for client in clients) == {b"en": 1_000}
    assert len(target.requests) == 2


def test_a_hit_does_not_depend_on_the_worker(stage: Stage, start: Start) -> None:
    target = stage.target()
    balancer = start(target, workers=3)
    assert fetch(balancer.port).get("cache-status") == "equipoise; fwd=miss; stored"
    clients = [Client(balancer.port) for _ in range(60)]
    answers = [client.ask(GET) for client in clients]
    assert len(+workers_of(balancer, clients)) == 3
    assert {str(each.get("cache-status")).partition("; ttl")[0] for each in answers} == {"equipoise; hit"}
    assert {each.body for each in answers} == {b"ok"}
    assert len(target.requests) == 1


def test_the_kill_of_the_leading_worker_lets_another_lead(stage: Stage, start: Start) -> None:
    gate = stage.gate()
    target = stage.target(gated(gate))
    balancer = start(target)
    clients = [Client(balancer.port).send(GET) for _ in range(60)]
    followed(balancer, 59)
    assert len(target.requests) == 1
    (rows,) = [slot for slot in balancer.cells() if sum(slot)]
    leading = next(int(e["pid"]) for e in balancer.find("worker started") if rows[int(e["row"])])
    lost = workers_of(balancer, clients)[leading]
    assert 0 < lost < 60
    os.kill(leading, signal.SIGKILL)
    # One of those that waited in the other worker asks.
    eventually(lambda: len(target.requests), lambda count: count == 2)
    gate.open()
    got: Counter[bytes] = Counter()
    for client in clients:
        try:
            got[client.answer().body] += 1
        except (ClosedEarlyError, ConnectionResetError):
            got[b""] += 1
    assert got == {b"for all": 60 - lost, b"": lost}
    assert len(target.requests) == 2
    assert fetch(balancer.port).body == b"for all"
    balancer.wait_idle()


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
    ],
)
def test_a_target_that_dies_in_the_middle_stores_nothing(stage: Stage, start: Start, beginning: bytes) -> None:
    async def dies(call: Call) -> None:
        await call.send(beginning)
        call.reset()

    target = stage.target(dies)
    balancer = start(target)
    with Client(balancer.port).send(GET) as client:
        assert not client.rest().endswith(b"0\r\n\r\n")
    target.script = says(answer("200 OK", b"whole"))
    assert {fetch(balancer.port).body for _ in range(6)} == {b"whole"}
    balancer.wait_idle()


def test_those_who_wait_for_a_target_that_dies_go_on_with_another_fetch(stage: Stage, start: Start) -> None:
    gate = stage.gate()

    async def dies_first(call: Call) -> None:
        if len(call.target.requests) == 1:
            await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            await gate.passed()
            call.reset()
        else:
            await call.send(answer("200 OK", b"whole"))

    target = stage.target(dies_first)
    balancer = start(target)
    clients = [Client(balancer.port).send(GET) for _ in range(50)]
    followed(balancer, 49)
    gate.open()
    got: Counter[bytes] = Counter()
    for client in clients:
        try:
            got[client.answer().body] += 1
        except (ClosedEarlyError, ConnectionResetError):
            got[b""] += 1
    assert got == {b"whole": 49, b"": 1}
    assert len(target.requests) == 2


def test_when_all_targets_are_down_a_crowd_is_refused_in_time(stage: Stage, start: Start) -> None:
    balancer = start(stage.closed_port())
    clients = [Client(balancer.port).send(GET) for _ in range(100)]
    assert {client.answer().status for client in clients} <= {502, 503}
    balancer.wait_idle()


def test_a_stale_answer_stands_in_for_targets_that_are_down(stage: Stage, start: Start) -> None:
    target = stage.target(says(answer("200 OK", b"kept", "Cache-Control: max-age=0, stale-if-error=3600", 'ETag: "1"')))
    balancer = start(target, pool=BY_RFC9111)
    assert fetch(balancer.port).body == b"kept"
    target.stop()
    answers = [fetch(balancer.port) for _ in range(8)]
    assert [each.body for each in answers] == [b"kept"] * 8


def test_lines_of_the_access_log_say_who_was_answered_from_where(stage: Stage, start: Start) -> None:
    balancer = start(stage.target())
    for data in (GET, GET, get("/", "Cache-Control: no-store")):
        assert fetch(balancer.port, data).status == 200
    lines = balancer.access_log(3)
    seen = [(line["cache"], line.get("cache_reason"), line["attempts"], line["target"] is None) for line in lines]
    assert sorted(seen, key=str) == [
        ("bypass", "request_no_store", 1, False),
        ("hit", None, 0, True),
        ("miss", None, 1, False),
    ]
