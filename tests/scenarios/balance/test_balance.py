"""Requests are spread as the algorithm promises, over all workers together."""

import asyncio
from collections import Counter

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, Load, fetch, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, Target, answer

ALGORITHMS = ["least_in_flight", "round_robin", "random", "response_time"]


def waits(gate: Gate) -> Script:
    """Answers once the gate is open."""

    async def script(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    return script


def counts(targets: list[Target]) -> list[int]:
    """Requests that each target has seen."""
    return [len(target.requests) for target in targets]


def weighted(targets: list[Target], weights: list[int], more: str = "") -> str:
    """The pool's targets with weights."""
    pairs = zip(targets, weights, strict=True)
    return more + "".join(f'\n[[pools.default.targets]]\nurl = "{t.url}"\nweight = {w}' for t, w in pairs)


def hold(balancer: Balancer, targets: list[Target], requests: int) -> list[int]:
    """Opens requests at once, none of which is answered, and returns how many each target holds."""
    gate = targets[0].stage.gate()
    for target in targets:
        target.script = waits(gate)

    async def open_all() -> list[int]:
        streams = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", balancer.port) for _ in range(requests)))
        for _, writer in streams:
            writer.write(GET)
        await asyncio.to_thread(eventually, lambda: gate.reached, lambda count: count == requests)
        held = [target.in_flight for target in targets]
        gate.open()
        answers = await asyncio.gather(*(reader.readuntil(b"ok") for reader, _ in streams))
        assert all(text.startswith(b"HTTP/1.1 200 ") for text in answers)
        for _, writer in streams:
            writer.transport.abort()
        return held

    return asyncio.run(asyncio.wait_for(open_all(), 40))


@pytest.mark.parametrize("workers", [1, 4])
def test_200_slow_requests_opened_at_once_are_held_evenly(stage: Stage, balance: Balance, workers: int) -> None:
    targets = [stage.target() for _ in range(5)]
    balancer = balance(targets, Setting(workers=workers))
    held = hold(balancer, targets, 200)
    assert sum(held) == 200
    assert all(38 <= count <= 42 for count in held), held
    balancer.wait_idle()


def test_requests_are_counted_while_their_connections_are_still_being_made(stage: Stage, balance: Balance) -> None:
    """Two waves: the second must see what the first one holds."""
    targets = [stage.target() for _ in range(4)]
    balancer = balance(targets, Setting(workers=2))
    for _ in range(2):
        held = hold(balancer, targets, 40)
        assert all(9 <= count <= 11 for count in held), held


@pytest.mark.parametrize("workers", [1, 4])
def test_idle_sequential_requests_touch_all_targets_in_turn(stage: Stage, balance: Balance, workers: int) -> None:
    targets = [stage.target() for _ in range(5)]
    balancer = balance(targets, Setting(workers=workers))
    for round_ in range(1, 9):
        for _ in range(5):
            assert fetch(balancer.port).status == 200
            balancer.wait_idle()
        assert counts(targets) == [round_] * 5


@pytest.mark.parametrize("algorithm", ["least_in_flight", "round_robin"])
def test_weights_are_shares_of_sequential_requests(stage: Stage, balance: Balance, algorithm: str) -> None:
    targets = [stage.target() for _ in range(3)]
    balancer = balance([], Setting(pool=weighted(targets, [3, 2, 1], f'algorithm = "{algorithm}"')))
    with Client(balancer.port) as client:
        for _ in range(60):
            client.ask(GET)
    assert counts(targets) == [30, 20, 10]


def test_weights_are_shares_of_random_requests(stage: Stage, balance: Balance) -> None:
    targets = [stage.target() for _ in range(2)]
    balancer = balance([], Setting(pool=weighted(targets, [9, 1], 'algorithm = "random"')))
    with Client(balancer.port) as client:
        for _ in range(400):
            client.ask(GET)
    # 40 expected, with a standard deviation of 6.
    assert 4 <= counts(targets)[1] <= 76


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_are_shares_of_what_is_in_flight(stage: Stage, balance: Balance, workers: int) -> None:
    targets = [stage.target() for _ in range(3)]
    balancer = balance([], Setting(workers=workers, pool=weighted(targets, [3, 2, 1])))
    held = hold(balancer, targets, 60)
    for count, share in zip(held, [30, 20, 10], strict=True):
        assert abs(count - share) <= 2, held


def test_a_target_holds_no_more_than_its_limit(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()
    target = stage.target(waits(gate))
    pool = f'[[pools.default.targets]]\nurl = "{target.url}"\nmax_in_flight = 2\n[pools.default.queue]\nsize = 0'
    balancer = balance([], Setting(pool=pool))
    clients = [Client(balancer.port).send(GET) for _ in range(5)]
    eventually(lambda: sum(client.has_bytes() for client in clients), lambda count: count == 3)
    refused = [client for client in clients if client.has_bytes()]
    for client in refused:
        message = client.answer()
        assert (message.status, message.get("retry-after")) == (503, "1")
    gate.open()
    for client in clients:
        if client not in refused:
            assert client.answer().body == b"ok"
        client.close()
    assert target.most_in_flight == 2
    balancer.wait_idle()


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_above_the_limit_wait_for_their_turn(stage: Stage, balance: Balance, workers: int) -> None:
    gate = stage.gate()
    target = stage.target(waits(gate))
    pool = f'[[pools.default.targets]]\nurl = "{target.url}"\nmax_in_flight = 2\n[pools.default.queue]\ntimeout = "1m"'
    balancer = balance([], Setting(workers=workers, pool=pool))
    clients = [Client(balancer.port).send(GET) for _ in range(9)]
    eventually(lambda: target.in_flight, lambda count: count == 2)
    gate.open()
    assert [client.answer().body for client in clients] == [b"ok"] * 9
    assert target.most_in_flight == 2
    for client in clients:
        client.close()
    balancer.wait_idle()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("workers", [1, 2])
def test_every_algorithm_uses_every_target_under_load(
    stage: Stage, balance: Balance, algorithm: str, workers: int, scale: int
) -> None:
    targets = [stage.target() for _ in range(3)]
    balancer = balance(targets, Setting(workers=workers, pool=f'algorithm = "{algorithm}"'))
    results = Load(balancer.port, 8).run_times(100 * scale)
    results.assert_all_good()
    assert sum(counts(targets)) == results.answered
    # `response_time` may prefer some of them; it starves none.
    least = results.answered * 0.2 if algorithm != "response_time" else 1
    assert min(counts(targets)) >= least, counts(targets)
    balancer.wait_idle()


def test_round_robin_takes_turns(stage: Stage, balance: Balance) -> None:
    targets = [stage.target() for _ in range(4)]
    balancer = balance(targets, Setting(pool='algorithm = "round_robin"'))
    with Client(balancer.port) as client:
        for i in range(1, 6):
            for _ in range(4):
                client.ask(GET)
            assert counts(targets) == [i] * 4


def test_response_time_prefers_the_quick_target_and_tries_the_slow_one(stage: Stage, balance: Balance) -> None:
    async def slow(call: Call) -> None:
        await asyncio.sleep(0.05)  # what the target's work takes, not a synchronisation
        await call.send(answer())

    targets = [stage.target(slow), stage.target()]
    balancer = balance(targets, Setting(workers=2, pool='algorithm = "response_time"'))
    load = Load(balancer.port, 2)

    def ratio() -> float:
        before = counts(targets)
        load.run_times(load.begun + 60)
        slow_ones, quick_ones = (now - then for now, then in zip(counts(targets), before, strict=True))
        return quick_ones / max(slow_ones, 1)

    # Means are published 4 times a second.
    eventually(ratio, lambda seen: seen > 3)
    seen = len(targets[0].requests)
    eventually(lambda: (ratio(), len(targets[0].requests))[1], lambda count: count > seen)
    load.results.assert_all_good()


def test_an_algorithm_of_the_user_s_own_decides(stage: Stage, balance: Balance) -> None:
    module = (
        "from equipoise.policy.balance import Algorithm\n"
        "class ByPath(Algorithm):\n"
        "    promise = 'the digit at the end of the path'\n"
        "    def pick(self, request, now, skip):\n"
        "        index = int(request.target[-1:])\n"
        "        return index if self.loads.free(index, skip) else -1\n"
    )
    targets = [stage.target() for _ in range(3)]
    setting = Setting(workers=2, pool='algorithm = "python:mine:ByPath"', files=(("mine.py", module),))
    balancer = balance(targets, setting)
    for index in [2, 2, 0, 2, 1]:
        assert fetch(balancer.port, get(f"/{index}")).status == 200
    assert counts(targets) == [1, 1, 3]


def test_an_algorithm_of_the_user_s_own_that_raises_costs_only_its_request(stage: Stage, balance: Balance) -> None:
    module = (
        "from equipoise.policy.balance import Algorithm\n"
        "class Broken(Algorithm):\n"
        "    promise = 'none'\n"
        "    def pick(self, request, now, skip):\n"
        "        if request.target == b'/bad':\n"
        "            raise ValueError('oops')\n"
        "        return 0\n"
    )
    setting = Setting(pool='algorithm = "python:mine:Broken"', files=(("mine.py", module),))
    balancer = balance([stage.target()], setting)
    with Client(balancer.port) as client:
        statuses = Counter(client.ask(get(path)).status for path in ["/", "/bad", "/", "/bad", "/"])
    assert statuses == {200: 3, 500: 2}
    balancer.wait_idle()
