"""More load than the targets can serve: what is too much is sent away early, the rest is served, and it passes."""

import asyncio

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.client import GET, Background, Client, Load, fetch
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer

MOST = 4
TARGETS = 3
WAITING = 6
CLIENTS = 80


def pool_of(targets: list[Target]) -> str:
    """Each target takes so many at once, each worker lets so many wait."""
    tables = [f'[[pools.default.targets]]\nurl = "{target.url}"\nmax_in_flight = {MOST}\n' for target in targets]
    return "".join(tables) + f'[pools.default.queue]\nsize = {WAITING}\ntimeout = "2s"\n'


def test_too_much_load_is_shed_early_and_is_forgotten_when_it_is_over(stage: Stage, administer: Administer) -> None:
    """Eighty clients that never pause, for twelve places and twelve seats in the queues of two workers."""
    slow = stage.gate()

    async def waits(call: Call) -> None:
        await slow.passed()
        await call.send(answer())

    targets = [stage.target(waits) for _ in range(TARGETS)]
    admin = administer(targets, workers=2, pool=pool_of(targets))
    balancer = admin.balancer
    # First they all get stuck: all but those who have a place or a seat are told at once, with a hint.
    clients = [Client(balancer.port).send(GET) for _ in range(CLIENTS)]
    kept = TARGETS * MOST + 2 * WAITING
    shed = eventually(lambda: [c for c in clients if c.has_bytes()], lambda found: len(found) >= CLIENTS - kept)
    answers = [client.answer() for client in shed]
    assert {(message.status, message.get("retry-after")) for message in answers} == {(503, "1")}
    assert sum(each["in_flight"] for each in admin.status()["pools"]["default"]["targets"]) == TARGETS * MOST
    slow.open()
    rest = [client.answer().status for client in clients if client not in shed]
    assert rest.count(200) >= TARGETS * MOST
    assert set(rest) <= {200, 503}
    assert max(target.most_in_flight for target in targets) <= MOST
    balancer.wait_idle()
    assert [fetch(balancer.port).status for _ in range(10)] == [200] * 10, "recovered at once"


def test_the_admin_api_answers_and_changes_take_hold_while_all_is_overloaded(
    stage: Stage, administer: Administer
) -> None:
    async def takes_its_time(call: Call) -> None:
        await asyncio.sleep(0.05)  # what the target's work takes, not a synchronisation
        await call.send(answer())

    targets = [stage.target(takes_its_time) for _ in range(TARGETS)]
    admin = administer(targets, workers=2, pool=pool_of(targets))
    load = Load(admin.balancer.port, CLIENTS)
    with Background(load) as background:
        eventually(lambda: load.results.statuses[503], lambda count: count > 100)
        seen = [admin.status() for _ in range(5)]
        changed = admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})
        background.wait_for(100)
        assert admin.done("GET", "/v1/config")["version"] == changed["version"]
    assert all(len(each["workers"]) == 2 for each in seen)
    assert not load.results.errors
    assert set(load.results.statuses) == {200, 503}
    # Nobody who was let in was given up on: those who wait get their turn.
    assert not [line for line in admin.balancer.access_log() if line["error"] == "queue_timeout (self)"]
    assert max(target.most_in_flight for target in targets) <= MOST
    admin.balancer.wait_idle()
    assert [fetch(admin.balancer.port).status for _ in range(10)] == [200] * 10, "recovered at once"
