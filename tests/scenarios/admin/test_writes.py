"""What an operator changes is in force when the call returns, on every worker, and after a restart."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin, Reply
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET, Client, fetch
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, Target, answer, says

POOL = "/v1/pools/default"


def waits(gate: Gate) -> Script:
    """Answers when the gate opens."""

    async def script(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    return script


def place(target: Target) -> str:
    return f"{POOL}/targets/{target.name}"


def bodies(admin: Admin, count: int = 8) -> set[bytes]:
    """What so many requests are answered, each on a connection of its own: they spread over the workers."""
    return {fetch(admin.balancer.port).body for _ in range(count)}


def test_a_target_that_is_added_gets_requests_from_all_workers_at_once(stage: Stage, administer: Administer) -> None:
    first, second = stage.target(), stage.target(says(answer("200 OK", b"second")))
    admin = administer([first], pool='algorithm = "round_robin"')
    added = admin.ask("POST", f"{POOL}/targets", {"url": second.url, "weight": 3})
    assert (added.status, added.fields["etag"], added.json["version"]) == (201, '"2"', 2)
    assert added.json == {**added.json, "name": second.name, "url": second.url, "weight": 3, "health": "up"}
    assert admin.ask("GET", added.fields["location"]).json["name"] == second.name
    assert [worker["version"] for worker in admin.status()["workers"]] == [2, 2]
    assert bodies(admin) == {b"ok", b"second"}


@pytest.mark.parametrize("state", ["draining", "down"])
def test_a_target_that_is_taken_out_gets_no_request_until_it_is_back(
    stage: Stage, administer: Administer, state: str
) -> None:
    first, second = stage.target(), stage.target(says(answer("200 OK", b"second")))
    admin = administer([first, second])
    changed = admin.done("PATCH", place(second), {"state": state})
    assert (changed["state"], changed["health"]) == (state, state)
    assert bodies(admin) == {b"ok"}
    assert admin.done("PATCH", place(second), {"state": "up"})["health"] == "up"
    assert bodies(admin, 16) == {b"ok", b"second"}


def test_a_target_that_is_removed_finishes_what_it_has(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    first, second = stage.target(), stage.target(waits(gate))
    admin = administer([second], workers=1)
    with Client(admin.balancer.port) as client:
        client.send(GET)
        eventually(lambda: second.in_flight, lambda count: count == 1)
        admin.done("POST", f"{POOL}/targets", {"url": first.url})
        removed = admin.done("DELETE", place(second))
        assert (removed["removed"], removed["in_flight"]) == (second.name, 1)
        leaving = admin.target(second.name)
        assert (leaving["health"], leaving["in_flight"]) == ("draining", 1)
        assert "removed" in leaving["reason"]
        assert second.name not in str(admin.done("GET", "/v1/config"))
        assert bodies(admin) == {b"ok"}
        gate.open()
        assert client.answer().status == 200
    eventually(lambda: admin.target(second.name), lambda seen: seen is None)
    assert admin.ask("GET", place(second)).status == 404


def test_a_target_that_is_removed_by_force_is_gone_at_once(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    target = stage.target(waits(gate))
    admin = administer([target], workers=1)
    with Client(admin.balancer.port) as client:
        client.send(GET)
        eventually(lambda: target.in_flight, lambda count: count == 1)
        assert admin.done("DELETE", f"{place(target)}?force=true")["in_flight"] == 0
        assert admin.target(target.name) is None
        assert client.answer().status in {502, 503}
    admin.balancer.wait_idle()
    gate.open()


def test_the_algorithm_is_switched_and_the_counters_are_kept(stage: Stage, administer: Administer) -> None:
    target = stage.target()
    admin = administer([target])
    bodies(admin, 10)
    admin.wait_until(target.name, requests=10)
    for name in ("round_robin", "random", "response_time", "least_in_flight"):
        assert admin.done("PUT", f"{POOL}/algorithm", {"algorithm": name})["algorithm"] == name
        assert admin.status()["pools"]["default"]["algorithm"] == name
    assert admin.target(target.name)["requests"] == 10


def test_a_limit_on_a_target_is_in_force(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    target = stage.target(waits(gate))
    admin = administer([target], workers=1, more="[pools.default.queue]\nsize = 0")
    assert admin.done("PATCH", place(target), {"max_in_flight": 1})["max_in_flight"] == 1
    with Client(admin.balancer.port) as client:
        client.send(GET)
        eventually(lambda: target.in_flight, lambda count: count == 1)
        assert fetch(admin.balancer.port).status == 503
        gate.open()
        assert client.answer().status == 200


def at_once(calls: list[Callable[[], Reply]]) -> list[Reply]:
    """The answers of calls that are made at the same time."""
    replies: list[Reply] = []
    barrier = threading.Barrier(len(calls))

    def perform(call: Callable[[], Reply]) -> None:
        barrier.wait()
        replies.append(call())

    threads = [threading.Thread(target=perform, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_of_writes_that_are_meant_for_one_version_one_is_done(stage: Stage, administer: Administer) -> None:
    target = stage.target()
    admin = administer([target])
    admin.token()

    def change(weight: int) -> Callable[[], Reply]:
        return lambda: admin.ask("PATCH", place(target), {"weight": weight}, if_match='"1"')

    replies = at_once([change(weight) for weight in range(2, 10)])
    (won,) = [reply for reply in replies if reply.status == 200]
    lost = [reply for reply in replies if reply.status == 412]
    assert len(lost) == 7
    assert all((reply.fields["etag"], reply.problem()) == ('"2"', "the version is 2") for reply in lost)
    assert admin.target(target.name)["weight"] == won.json["weight"]


def test_writes_at_the_same_time_are_all_done_one_after_the_other(stage: Stage, administer: Administer) -> None:
    target = stage.target()
    admin = administer([target])
    admin.token()

    def add(number: int) -> Callable[[], Reply]:
        return lambda: admin.ask("POST", f"{POOL}/targets", {"url": target.url, "name": f"t{number}"})

    replies = at_once([add(number) for number in range(12)])
    assert sorted(reply.json["version"] for reply in replies) == list(range(2, 14))
    assert len(admin.done("GET", f"{POOL}/targets")["targets"]) == 13


def started_again(balancer: Balancer) -> Admin:
    """The same file and the same state, in another process."""
    return Admin(Balancer(balancer.folder, balancer.config.read_text()).__enter__())


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_changes_outlive_the_process(stage: Stage, administer: Administer, end: signal.Signals) -> None:
    first, second, third = stage.target(), stage.target(), stage.target()
    admin = administer([first, second])
    admin.done("POST", f"{POOL}/targets", {"url": third.url, "name": "third", "weight": 2})
    admin.done("PATCH", place(first), {"state": "draining", "max_in_flight": 7})
    admin.done("DELETE", place(second))
    admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
    before = admin.done("GET", "/v1/config")
    differences = admin.done("GET", "/v1/config/differences")
    assert before["version"] == 5
    admin.balancer.signal(end)
    admin.balancer.wait_exit()
    again = started_again(admin.balancer)
    try:
        assert again.done("GET", "/v1/config") == before
        assert again.done("GET", "/v1/config/differences") == differences
        assert again.target(first.name)["health"] == "draining"
    finally:
        again.balancer.end()


def test_the_file_and_what_differs_from_it_can_be_read(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
    file, running = (admin.done("GET", f"/v1/config{query}")["config"] for query in ("?file=true", ""))
    assert file["pools"]["default"]["algorithm"] == "least_in_flight"
    assert running["pools"]["default"]["algorithm"] == "random"
    (difference,) = admin.done("GET", "/v1/config/differences")["differences"]
    assert difference == {"place": "pools.default.algorithm", "file": "least_in_flight", "running": "random"}


def test_a_reload_takes_up_the_file_and_keeps_what_was_changed(stage: Stage, administer: Administer) -> None:
    first, second = stage.target(), stage.target()
    admin = administer([first])
    assert admin.done("POST", "/v1/reload") == {"version": 1, "changed": False}
    admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
    text = admin.balancer.config.read_text()
    admin.balancer.config.write_text(text.replace(first.url, second.url))
    assert admin.done("POST", "/v1/reload") == {"version": 3, "changed": True}
    pool = admin.done("GET", "/v1/config")["config"]["pools"]["default"]
    assert ([target["url"] for target in pool["targets"]], pool["algorithm"]) == ([second.url], "random")
    assert bodies(admin) == {b"ok"}


@pytest.mark.parametrize(
    ("change", "status", "places"),
    [
        (("workers = 2", "workers = 0\nspeed = 9"), 422, {"workers", "speed"}),
        (("[pools.default]", "[pools.default"), 422, {"file"}),
        (("workers = 2", "workers = 3"), 409, set()),
    ],
)
def test_a_bad_file_changes_nothing_and_every_problem_is_named(
    stage: Stage, administer: Administer, change: tuple[str, str], status: int, places: set[str]
) -> None:
    admin = administer([stage.target()])
    before = admin.done("GET", "/v1/config")
    admin.balancer.config.write_text(admin.balancer.config.read_text().replace(*change))
    reply = admin.ask("POST", "/v1/reload")
    assert (reply.status, bool(reply.problem())) == (status, True)
    assert {error["place"] for error in reply.json.get("errors", ())} == places
    assert admin.done("GET", "/v1/config") == before


def test_who_changed_what_is_in_the_log(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
    call = admin.balancer.wait_for("admin call")
    assert (call["method"], call["path"], call["subject"], call["client"], call["status"]) == (
        "PUT", f"{POOL}/algorithm", "equipoise", "127.0.0.1", 200,
    )  # fmt: skip
    (change,) = admin.balancer.find("changed")
    assert change["version"] == 2


def test_the_data_port_has_no_admin_api(stage: Stage, administer: Administer) -> None:
    target = stage.target(says(answer("404 Not Found", b"the target's own")))
    admin = administer([target])
    with Client(admin.balancer.port) as client:
        token = admin.token()
        asked = client.ask(f"GET /v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert asked.body == b"the target's own"


def test_the_state_is_for_this_user_alone(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
    folder: Path = admin.balancer.state_file.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "state.json": 0o600,
        "jwt-secret": 0o600,
        "lock": 0o600,
    }
