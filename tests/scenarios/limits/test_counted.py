"""What one client may have open, that it cannot take it from others, and that the metrics say what was refused."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, fetch, get, post
from tests.scenarios.support.messages import Message
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer

UPGRADE = get("/", "Connection: Upgrade", "Upgrade: raw")


async def switches_when_asked(call: Call) -> None:
    """Becomes a tunnel that ends with its client, or is an ordinary answer."""
    if call.request.get("upgrade") is None:
        await call.send(answer())
        return
    await call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    await call.gone()


def limited(text: str, workers: int = 1) -> Setting:
    """With limits, and with an admin API that shows them."""
    return Setting(workers=workers, admin=True, more=f"[limits]\n{text}")


def samples(balancer: Balancer) -> dict[str, float]:
    """All series of the metrics as they are written."""
    with urlopen(f"{balancer.admin}/metrics", timeout=20) as reply:
        lines = [line for line in reply.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def reached(balancer: Balancer) -> Counter[str]:
    """The limits that were reached, and how often."""
    begin, end = 'equipoise_limit_reached_total{limit="', '"}'
    found = {name.removeprefix(begin): int(n) for name, n in samples(balancer).items() if name.startswith(begin)}
    return +Counter({name.removesuffix(end): count for name, count in found.items()})


def from_elsewhere(port: int) -> Message:
    """A request of a client with another address."""
    with Client(port, address="127.0.0.2") as client:
        return client.ask(GET)


def assert_turned_away(message: Message) -> None:
    assert message.status == 503
    assert message.get("retry-after") == "1"
    assert message.get("connection") == "close"


@pytest.mark.parametrize("workers", [1, 2])
def test_one_client_has_so_many_connections_and_leaves_the_others_theirs(
    stage: Stage, balance: Balance, workers: int
) -> None:
    balancer = balance([stage.target()], limited("connections_per_client = 6", workers))
    inside = [Client(balancer.port) for _ in range(6)]
    assert [client.ask(GET).status for client in inside] == [200] * 6
    outside = [Client(balancer.port) for _ in range(3)]
    for client in outside:
        assert_turned_away(client.answer())
    assert from_elsewhere(balancer.port).status == 200
    assert reached(balancer) == {"connections_per_client": 3}
    for client in (*outside, inside[0]):
        client.close()
    eventually(lambda: fetch(balancer.port).status, lambda status: status == 200)


def test_connections_of_a_worker_that_died_count_no_more(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], limited("connections_per_client = 4", 2))
    for _ in range(4):
        assert Client(balancer.port).ask(GET).status == 200
    assert fetch(balancer.port).status == 503
    for pid in balancer.workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(balancer.find("worker started")), lambda count: count == 4)
    inside = [eventually(lambda: fresh_client(balancer)) for _ in range(4)]
    assert fetch(balancer.port).status == 503
    assert all(client.ask(GET).status == 200 for client in inside if client is not None)


def fresh_client(balancer: Balancer) -> Client | None:
    """A client that is served; none while the worker that has its connection is still dying."""
    client = Client(balancer.port)
    try:
        assert client.ask(GET).status == 200
    except OSError:
        client.close()
        return None
    return client


@pytest.fixture(scope="module")
def strict(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Balancer, Target]]:
    """A balancer with narrow limits, for all that only looks at what is refused."""
    target = shared_stage.target(switches_when_asked)
    text = (
        'tunnels = 1\nrequest_head = "1KiB"\nheader_count = 10\nrequest_target = 100\nrequest_body = 10\n'
        'head_timeout = "200ms"'
    )
    with Balancer(tmp_path_factory.mktemp("strict"), limited(text).text([target.url])) as balancer:
        yield balancer, target


def test_tunnels_over_the_limit_are_503_before_a_target_is_asked(strict: tuple[Balancer, Target]) -> None:
    balancer, target = strict
    before, asked = reached(balancer), len(target.requests)
    with Client(balancer.port) as first:
        assert first.ask(UPGRADE).status == 101
        with Client(balancer.port) as second:
            refused = second.ask(UPGRADE)
            assert (refused.status, refused.get("retry-after")) == (503, "1")
            assert second.ask(GET).status == 200, "its connection is still good for requests"
        assert len(target.requests) - asked == 2
        assert samples(balancer)['equipoise_tunnels{worker="0"}'] == 1
        assert reached(balancer) - before == {"tunnels": 1}
    eventually(lambda: fetch(balancer.port, UPGRADE).status, lambda status: status == 101)


def test_what_was_refused_can_be_seen_in_the_metrics(strict: tuple[Balancer, Target]) -> None:
    balancer, _ = strict
    before = reached(balancer)
    requests = [
        get("/", "X: " + "a" * 2000),
        get("/", *["X: 1"] * 10),
        get("/" + "a" * 200),
        post(b"x" * 11),
        GET[:-2],
    ]
    assert [fetch(balancer.port, request).status for request in requests] == [431, 431, 414, 413, 408]
    names = ["request_head", "header_count", "request_target", "request_body", "head_timeout"]
    assert reached(balancer) - before == dict.fromkeys(names, 1)


def test_calls_of_the_admin_api_that_are_turned_away_are_counted(strict: tuple[Balancer, Target]) -> None:
    balancer, _ = strict
    port = int(balancer.admin.rpartition(":")[2])
    large = get("/healthz", "Content-Length: 100000").replace(b"example.org", b"127.0.0.1")
    assert fetch(port, large).status == 413
    assert fetch(port, get("/v1/status").replace(b"example.org", b"127.0.0.1")).status == 401
    assert fetch(port, get("/healthz")).status == 421
    found = samples(balancer)
    assert [found[f'equipoise_admin_refused_total{{status="{status}"}}'] for status in (401, 413, 421)] == [1, 1, 1]
