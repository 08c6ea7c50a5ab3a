"""The status as plain data, from a real ledger."""

import json

from equipoise.model import Outcome
from equipoise.runtime.caches import Caches
from equipoise.runtime.slots import Key, Slots
from equipoise.runtime.startup import make_memory
from equipoise.runtime.status import pools_status, why_not_ready, workers_status
from equipoise.runtime.targets import TargetTable
from equipoise.state.ledger import WORKER_CONNECTIONS, Ledger
from tests.unit.runtime.parts import config_of

PAIR = '[pools.p]\nalgorithm = "random"\ntargets = ["http://10.0.0.1:1", "http://10.0.0.2:1"]'
CONFIG = config_of(PAIR)
ONE = config_of('[pools.p]\ntargets = ["http://10.0.0.1:1"]')
DRAINING = config_of('[pools.p]\ntargets = ["http://10.0.0.1:1", { url = "http://10.0.0.2:1", state = "draining" }]')


class Fixture:
    """A table, the supervisor's ledger, and a worker's view of the same memory."""

    def __init__(self) -> None:
        memory = make_memory(rows=2)
        self.ledger = memory.ledger
        self.worker = Ledger(memory.map(), 2, memory.slots, 1)
        self.table = TargetTable(
            Slots(16, lambda _slot: True, lambda _slot: None), lambda _slot: 0, lambda host: (host,)
        )
        self.table.install(CONFIG, 0.0)
        memory.close()

    def take(self, slot: int, times: int) -> None:
        for _ in range(times):
            self.worker.take(slot)

    def pool(self) -> dict[str, object]:
        pool = json.loads(json.dumps(pools_status(CONFIG, self.table, self.ledger, Caches(2))))["p"]
        assert isinstance(pool, dict)
        return pool

    def targets(self) -> list[dict[str, object]]:
        targets = self.pool()["targets"]
        assert isinstance(targets, list)
        return targets


def test_a_target_shows_its_counters_and_settings() -> None:
    fixture = Fixture()
    fixture.take(1, 3)
    fixture.worker.count_answer(1, 200, 2_000_000)
    fixture.worker.flush()
    fixture.ledger.publish_mean(1, 1_500_000)
    target = fixture.targets()[0]
    del target["since"]
    assert target == {
        "name": "10.0.0.1:1",
        "url": "http://10.0.0.1:1",
        "weight": 1,
        "max_in_flight": 0,
        "state": "up",
        "addresses": ["10.0.0.1"],
        "health": "up",
        "reason": None,
        "in_flight": 3,
        "requests": 1,
        "failures": 0,
        "retries": 0,
        "ejections": 0,
        "mean_response_ms": 1.5,
    }


def test_the_spread_is_between_the_targets_that_are_up() -> None:
    fixture = Fixture()
    fixture.take(1, 5)
    fixture.take(2, 2)
    assert fixture.pool()["spread"] == 3
    fixture.table.install(DRAINING, 1.0)
    assert fixture.pool()["spread"] == 0


def test_a_target_that_is_down_shows_why_and_since_when() -> None:
    fixture = Fixture()
    before = fixture.targets()[0]["since"]
    fixture.table.failed(Key("p", "10.0.0.1:1"), Outcome.CONNECT_FAILED, 0, 0.0)
    target = fixture.targets()[0]
    assert (target["health"], target["reason"]) == ("down", "connect failed")
    assert str(target["since"]) >= str(before)


def test_a_removed_target_stays_with_what_is_in_flight_there() -> None:
    fixture = Fixture()
    fixture.take(2, 1)
    fixture.table.install(ONE, 1.0)
    gone = fixture.targets()[1]
    assert (gone["name"], gone["health"], gone["in_flight"]) == ("10.0.0.2:1", "draining", 1)
    assert gone["reason"] == "removed; waiting for requests in flight"
    assert fixture.pool()["spread"] == 0


def test_with_all_workers_and_a_target_in_each_pool_it_is_ready() -> None:
    assert why_not_ready(CONFIG, Fixture().table, (2, 2)) is None


def test_it_is_not_ready_before_all_workers_are_up() -> None:
    assert why_not_ready(CONFIG, Fixture().table, (1, 2)) == "1 of 2 workers are up"


def test_it_is_not_ready_when_a_pool_has_lost_all_its_targets() -> None:
    fixture = Fixture()
    for name in ("10.0.0.1:1", "10.0.0.2:1"):
        fixture.table.failed(Key("p", name), Outcome.CONNECT_FAILED, 0, 0.0)
    assert why_not_ready(CONFIG, fixture.table, (2, 2)) == "no target of pool p is up"


def test_a_pool_without_targets_keeps_others_from_nothing() -> None:
    fixture = Fixture()
    config = config_of(f'{PAIR}\n[pools.empty]\ntargets = []\n[[routes]]\npool = "p"')
    fixture.table.install(config, 1.0)
    assert why_not_ready(config, fixture.table, (2, 2)) is None


def test_it_is_not_ready_without_any_target() -> None:
    fixture = Fixture()
    config = config_of("[pools.p]\ntargets = []")
    fixture.table.install(config, 1.0)
    assert why_not_ready(config, fixture.table, (2, 2)) == "no pool has a target"


def test_a_worker_shows_its_pid_and_connections_and_the_configuration_it_acts_on() -> None:
    fixture = Fixture()
    fixture.worker.set_worker(WORKER_CONNECTIONS, 7)
    (worker,) = workers_status({1: 4242}, {1: 3}, set(), fixture.ledger)
    assert (worker["row"], worker["pid"], worker["connections"], worker["version"]) == (1, 4242, 7, 3)
