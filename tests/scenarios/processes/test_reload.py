"""A reload changes what the file says and disturbs nothing else."""

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting, urls
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer, says


def streams(gate: Gate) -> Script:
    """One event at once, the other when the gate opens."""

    async def script(call: Call) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await call.send(head + b"5\r\none\n\n\r\n")
        await gate.passed()
        await call.send(b"5\r\ntwo\n\n\r\n0\r\n\r\n")

    return script


def test_reloads_under_load_cost_no_request(stage: Stage, balance: Balance, scale: int) -> None:
    """Targets come and go, weights and algorithms change, one reload after the other."""
    targets = [stage.target() for _ in range(4)]
    settings = [Setting(workers=2, pool=f'algorithm = "{name}"') for name in ("round_robin", "random", "response_time")]
    settings.append(Setting(workers=2))
    balancer = balance(targets, settings[-1])
    load = Load(balancer.port, 8)
    with Background(load) as background:
        for number in range(12):
            left = [target for index, target in enumerate(targets) if index != number % 4]
            text = settings[number % len(settings)].text(urls(left if number % 2 else targets))
            assert balancer.reload(text)["event"] == "reloaded"
            background.wait_for(4 * scale)
    load.results.assert_all_good()
    assert len(balancer.find("reloaded")) == 12
    balancer.wait_idle()


def test_new_requests_go_where_the_file_says_now(stage: Stage, balance: Balance) -> None:
    before, after = stage.target(says(answer("200 OK", b"before"))), stage.target(says(answer("200 OK", b"after")))
    setting = Setting(workers=2)
    balancer = balance([before], setting)
    with Client(balancer.port) as client:
        assert client.ask(GET).body == b"before"
        balancer.reload(setting.text([after.url]))
        # "reloaded" means that all workers act on it.
        assert client.ask(GET).body == b"after"
        assert fetch(balancer.port).body == b"after"


def test_a_reload_cuts_no_stream_and_no_upload_even_of_a_target_that_it_removes(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()
    before, after = stage.target(streams(gate)), stage.target()
    setting = Setting()
    balancer = balance([before], setting)
    with Client(balancer.port) as stream, Client(balancer.port) as upload:
        stream.send(get("/events"))
        stream.receive_until(b"one\n\n")
        upload.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        eventually(lambda: before.in_flight, lambda count: count == 2)
        switched = Setting(pool='algorithm = "random"')
        assert balancer.reload(switched.text([after.url]))["event"] == "reloaded"
        assert fetch(balancer.port).body == b"ok"
        assert after.paths == ["/"]
        assert not stream.is_closed()
        assert balancer.in_flight() == 2
        upload.send(b"cd")
        gate.open()
        stream.receive_until(b"two\n\n\r\n0\r\n\r\n")
        upload.receive_until(b"two\n\n\r\n0\r\n\r\n")
    balancer.wait_idle()


def test_a_target_that_is_removed_and_added_again_keeps_its_count(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    kept, moved = stage.target(waits), stage.target(waits)
    setting = Setting()
    balancer = balance([kept, moved], setting)
    clients = [Client(balancer.port).send(GET) for _ in range(8)]
    eventually(lambda: (kept.in_flight, moved.in_flight), lambda seen: seen == (4, 4))
    balancer.reload(setting.text([kept.url]))
    assert balancer.in_flight() == 8
    balancer.reload(setting.text([kept.url, moved.url]))
    # Had the count been lost, the next ones would all go to the target that seems empty.
    clients += [Client(balancer.port).send(GET) for _ in range(4)]
    eventually(lambda: (kept.in_flight, moved.in_flight), lambda seen: seen == (6, 6))
    gate.open()
    for client in clients:
        assert client.answer().body == b"ok"
        client.close()
    balancer.wait_idle()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(("targets", "tragets"), "targets", id="unknown key"),
        pytest.param(("[pools.default]", "[pools.default"), "", id="no TOML"),
        pytest.param(("workers = 1", 'workers = "many"'), "", id="wrong type"),
        pytest.param(("workers = 1", "workers = 2"), "workers", id="what cannot change"),
        pytest.param(("127.0.0.1:0", "127.0.0.2:0"), "listen", id="another listener"),
        pytest.param(
            ('path = "access.log"', 'path = "/nowhere/access.log"'), "nowhere", id="a log that cannot be made"
        ),
    ],
)
def test_a_bad_reload_changes_nothing_and_says_why(
    stage: Stage, balance: Balance, change: tuple[str, str], reason: str
) -> None:
    target = stage.target()
    setting = Setting()
    balancer = balance([target], setting)
    text = setting.text([target.url])
    assert change[0] in text
    event = balancer.reload(text.replace(*change))
    assert event["event"] == "reload refused"
    assert reason in f"{event.get('path')} {event['reason']}"
    assert fetch(balancer.port).body == b"ok"
    assert len(balancer.access_log(1)) == 1
    assert balancer.reload(setting.text([target.url]))["event"] == "reloaded"


def test_a_bad_reload_names_all_its_problems(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()])
    balancer.reload('listen = "nowhere"\nworkers = -1\n[pools.default]\ntargets = ["ftp://a"]\nalgorithm = "best"\n')
    paths = eventually(
        lambda: {str(event.get("path")) for event in balancer.find("reload refused")}, lambda seen: len(seen) >= 4
    )
    assert {"listen", "workers", "pools.default.algorithm"} <= paths


def test_a_limit_that_changes_is_in_force_for_open_connections(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target])
    with Client(balancer.port) as client:
        assert client.ask(get("/" + "a" * 300)).status == 200
        balancer.reload(Setting(more="[limits]\nrequest_target = 100").text([target.url]))
        assert client.ask(get("/" + "a" * 300)).status == 414
