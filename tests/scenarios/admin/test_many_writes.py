"""Many writes while traffic flows: no request is lost, no worker lags behind, no answer is taken back."""

import signal
import threading
import time
from collections.abc import Iterator
from itertools import count, islice

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin, Reply
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import Background, Load
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Stage

POOL = "/v1/pools/default"
ALGORITHMS = ("round_robin", "random", "response_time", "least_in_flight")
WRITES = 250
PAUSE = 1 / 50


Write = tuple[str, str, object]


def mixed(url: str, kept: str) -> Iterator[Write]:
    """Writes of every kind without end; each of them changes something."""
    for number in count(1):
        target = f"{POOL}/targets/t{number}"
        yield "POST", f"{POOL}/targets", {"url": url, "name": f"t{number}", "weight": 1 + number % 5}
        yield "PATCH", target, {"weight": 10}
        yield "PUT", f"{POOL}/algorithm", {"algorithm": ALGORITHMS[number % 4]}
        yield "PATCH", target, {"state": "draining"}
        yield "PATCH", f"{POOL}/targets/{kept}", {"max_in_flight": 1000 + number}
        if number % 10:
            yield "DELETE", target, None


def paced(admin: Admin, writes: Iterator[Write]) -> Iterator[Reply]:
    """Their answers, at most 50 a second."""
    due = time.monotonic()
    for method, path, body in writes:
        yield admin.ask(method, path, body)
        due = max(due + PAUSE, time.monotonic())
        threading.Event().wait(due - time.monotonic())


def test_50_writes_a_second_under_load_cost_no_request_and_are_not_forgotten(
    stage: Stage, administer: Administer
) -> None:
    kept, other, coming = stage.target(), stage.target(), stage.target()
    admin = administer([kept, other], workers=3)
    admin.token()
    load = Load(admin.balancer.port, 6)
    with Background(load):
        replies = list(paced(admin, islice(mixed(coming.url, kept.name), WRITES)))
    load.results.assert_all_good()
    assert {reply.status for reply in replies} == {200, 201}
    # Each write gets the next version, none is skipped.
    assert [reply.json["version"] for reply in replies] == list(range(2, WRITES + 2))
    assert {worker["version"] for worker in admin.status()["workers"]} == {WRITES + 1}
    assert len(admin.balancer.find("worker died")) == 0
    admin.balancer.wait_idle()

    before = admin.done("GET", "/v1/config")
    assert before["version"] == WRITES + 1
    workers = admin.balancer.workers
    admin.balancer.process.kill()
    admin.balancer.wait_exit()
    with Balancer(admin.balancer.folder, admin.balancer.config.read_text()) as balancer:
        again = Admin(balancer)
        assert again.done("GET", "/v1/config") == before
        assert {worker["version"] for worker in again.status()["workers"]} == {WRITES + 1}
        assert not set(workers) & set(balancer.workers)


def test_whatever_was_answered_before_a_kill_is_there_after_it(stage: Stage, administer: Administer) -> None:
    """Killed in the middle of writes, the balancer comes back with the last one that was answered, or with the next."""
    target = stage.target()
    admin = administer([target])
    admin.token()
    answered: list[int] = []

    def write() -> None:
        for weight in range(2, 1000):
            try:
                reply = admin.ask("PATCH", f"{POOL}/targets/{target.name}", {"weight": weight})
            except OSError:
                return
            answered.append(reply.json["weight"])

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: len(answered), lambda seen: seen >= 20)
    admin.balancer.signal(signal.SIGKILL)
    admin.balancer.wait_exit()
    writer.join()
    with Balancer(admin.balancer.folder, admin.balancer.config.read_text()) as balancer:
        found = Admin(balancer).target(target.name)
        assert found["weight"] in {answered[-1], answered[-1] + 1}
