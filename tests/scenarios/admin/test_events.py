"""The stream of events, and the probes: what happens is seen as it happens."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import next_event
from tests.scenarios.support.client import GET, Client
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, answer

POOL = "/v1/pools/default"


def test_the_status_comes_at_once_and_each_second(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    with admin.events() as events:
        moments = [next_event(events, "status")["uptime_s"] for _ in range(3)]
    assert moments == sorted(set(moments))


def test_flips_and_changes_are_told_at_once(stage: Stage, administer: Administer) -> None:
    target, other = stage.target(), stage.target()
    admin = administer([target, other])
    with admin.events() as events:
        next_event(events, "status")
        target.stop()
        flip = next_event(events, "flip", target=target.name, to="down")
        assert (flip["pool"], flip["from"], bool(flip["reason"])) == ("default", "up", True)
        target.start()
        next_event(events, "flip", target=target.name, to="up")
        admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
        change = next_event(events, "change")
        assert (change["version"], "random" in change["what"]) == (2, True)
    kinds = [event["kind"] for event in admin.done("GET", "/v1/events/recent")["events"]]
    assert kinds.count("flip") >= 2
    assert "change" in kinds


def test_the_death_of_a_worker_and_its_successor_are_told(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    with admin.events() as events:
        next_event(events, "status")
        victim = admin.balancer.workers[0]
        os.kill(victim, signal.SIGKILL)
        died = next_event(events, "worker", event="died")
        started = next_event(events, "worker", event="started")
    assert (died["pid"], started["row"]) == (victim, died["row"])


def test_what_was_missed_is_told_after_a_break(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    for name in ("random", "round_robin", "response_time"):
        admin.done("PUT", f"{POOL}/algorithm", {"algorithm": name})
    changes = [event for event in admin.done("GET", "/v1/events/recent")["events"] if event["kind"] == "change"]
    with admin.events(last_event_id=str(changes[0]["id"])) as events:
        assert [next_event(events, "change")["version"] for _ in range(2)] == [3, 4]


def test_streams_end_when_the_balancer_leaves(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    with ExitStack() as open_streams:
        streams = [open_streams.enter_context(admin.events()) for _ in range(3)]
        for stream in streams:
            next_event(stream, "status")
        admin.balancer.signal(signal.SIGTERM)
        for stream in streams:
            # To their end, which a broken connection would not be.
            assert {kind for kind, _ in stream} <= {"status", "flip", "change", "worker"}
        assert admin.balancer.wait_exit() == 0


def test_many_clients_that_leave_leave_nothing_behind(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])

    def descriptors() -> int:
        return len(list(Path(f"/proc/{admin.balancer.process.pid}/fd").iterdir()))

    before = descriptors()
    for _ in range(20):
        with admin.events() as events:
            next_event(events, "status")
    eventually(descriptors, lambda count: count <= before)


def test_the_process_is_alive_and_ready(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    for path in ("/healthz", "/readyz"):
        reply = admin.send("GET", path, {})
        assert (reply.status, reply.fields["content-type"]) == (200, "text/plain; charset=utf-8")


def test_without_a_target_that_is_up_it_is_alive_and_not_ready(stage: Stage, administer: Administer) -> None:
    target = stage.target()
    admin = administer([target])
    target.stop()
    reply = eventually(lambda: admin.send("GET", "/readyz", {}), lambda seen: seen.status == 503)
    assert b"up" in reply.body
    assert admin.send("GET", "/healthz", {}).status == 200
    target.start()
    eventually(lambda: admin.send("GET", "/readyz", {}).status, lambda status: status == 200)


def test_while_it_drains_it_is_not_ready_and_answers_still(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    target = stage.target(waits)
    admin = administer([target], workers=1)
    admin.token()
    with Client(admin.balancer.port) as client:
        client.send(GET)
        eventually(lambda: target.in_flight, lambda count: count == 1)
        admin.balancer.signal(signal.SIGTERM)
        reply = eventually(lambda: admin.send("GET", "/readyz", {}), lambda seen: seen.status == 503)
        assert reply.body == b"draining"
        assert admin.status()["draining"] is True
        refused = admin.ask("PUT", f"{POOL}/algorithm", {"algorithm": "random"})
        assert (refused.status, "draining" in refused.problem()) == (409, True)
        gate.open()
        assert client.answer().status == 200
    assert admin.balancer.wait_exit() == 0
