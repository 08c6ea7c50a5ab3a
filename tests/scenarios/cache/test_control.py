"""An operator switches, tunes and empties a cache: in force in all workers when the call is answered."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting, environment
from tests.scenarios.support.client import Client, fetch, get
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, Target, answer

CACHE = "/v1/pools/default/cache"
ON = '[pools.default.cache]\nenabled = true\nttl = "1h"'
Administer = Callable[..., Admin]


@pytest.fixture
def administer(balance: Balance) -> Administer:
    """Starts a balancer of two workers before one target; `pool` is added to the file."""

    def start(target: Target, pool: str = ON, workers: int = 2) -> Admin:
        return Admin(balance([target], Setting(workers=workers, admin=True, pool=pool)))

    return start


@pytest.fixture
def emptied(lend: Lend) -> Callable[[], Admin]:
    """Lends a balancer as `administer` makes one, whose cache holds nothing, before a target that counts."""

    def start() -> Admin:
        admin = Admin(lend(counts(), Setting(workers=2, admin=True, pool=ON))[0])
        admin.done("DELETE", CACHE)
        return admin

    return start


def counts() -> Script:
    """Answers each request with its number."""
    seen = 0

    async def script(call: Call) -> None:
        nonlocal seen
        seen += 1
        number = seen
        await call.body()
        await call.send(answer("200 OK", b"%d" % number))

    return script


def body(admin: Admin, path: str = "/") -> int:
    """Which of its answers the target gave, on a connection of its own."""
    return int(fetch(admin.balancer.port, get(path)).body)


def bodies(admin: Admin, path: str = "/", count: int = 12) -> set[int]:
    """The answers to so many requests, which spread over the workers."""
    return {body(admin, path) for _ in range(count)}


def settled(admin: Admin, **wanted: int) -> dict[str, object]:
    """The statistics, once they say what is wanted: workers write their counts at each tick."""
    return eventually(lambda: admin.done("GET", CACHE), lambda seen: wanted.items() <= seen.items())


# Switching


def test_a_cache_is_switched_on_and_off_for_all_workers(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()), pool="")
    assert len(bodies(admin, count=6)) == 6
    assert admin.done("PUT", CACHE, {"enabled": True, "ttl": "1h"})["settings"]["ttl"] == "1h"
    assert bodies(admin) == {7}
    off = admin.done("PUT", CACHE, {"enabled": False})
    assert (off["enabled"], off["entries"], off["settings"]["ttl"]) == (False, 0, "1h")
    assert len(bodies(admin, count=6)) == 6


def test_what_was_kept_is_gone_when_the_cache_is_switched_on_again(emptied: Callable[[], Admin]) -> None:
    admin = emptied()
    assert bodies(admin) == {1}
    admin.done("PUT", CACHE, {"enabled": False})
    admin.done("PUT", CACHE, {"enabled": True})
    assert bodies(admin) == {2}


def test_what_is_kept_outlives_other_changes_and_a_reload(stage: Stage, administer: Administer) -> None:
    target = stage.target(counts())
    admin = administer(target)
    assert bodies(admin) == {1}
    admin.done("PUT", CACHE, {"max_body": "2MiB", "ttl": "2h"})
    admin.done("PATCH", f"/v1/pools/default/targets/{target.name}", {"weight": 3})
    admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})
    admin.done("POST", "/v1/reload")
    assert bodies(admin) == {1}


def test_another_size_begins_with_an_empty_cache(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()))
    assert bodies(admin) == {1}
    assert admin.done("PUT", CACHE, {"max_bytes": "32MiB"})["max_bytes"] == 32 << 20
    assert bodies(admin) == {2}


def test_a_setting_acts_from_the_next_request_on(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()))
    assert bodies(admin) == {1}
    admin.done("PUT", CACHE, {"methods": ["POST"]})
    assert len(bodies(admin, count=6)) == 6


def test_a_request_in_flight_at_the_switch_is_answered_and_not_kept(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    admin = administer(stage.target(waits(gate)), workers=1)
    with Client(admin.balancer.port) as client, Client(admin.balancer.port) as follower:
        client.send(get("/"))
        eventually(lambda: gate.reached, lambda count: count == 1)
        follower.send(get("/"))
        settled(admin, followed=1)
        admin.done("PUT", CACHE, {"enabled": False})
        # Who waited for the other's answer goes on alone.
        eventually(lambda: gate.reached, lambda count: count == 2)
        admin.done("PUT", CACHE, {"enabled": True})
        gate.open()
        assert [client.answer().body, follower.answer().body] == [b"ok", b"ok"]
    assert settled(admin, stores=0)["entries"] == 0


def waits(gate: Gate) -> Script:
    """Answers when the gate opens."""

    async def script(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    return script


def test_the_switch_is_kept_over_a_restart(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()), pool="")
    admin.done("PUT", CACHE, {"enabled": True, "ttl": "10m", "key_headers": ["accept"]})
    first = admin.balancer
    first.end()
    with Balancer(first.folder, first.config.read_text()) as again:
        admin = Admin(again)
        settings = admin.done("GET", CACHE)["settings"]
        assert (settings["enabled"], settings["ttl"], settings["key_headers"]) == (True, "10m", ["accept"])
        assert len(bodies(admin)) == 1
        differences = {each["place"] for each in admin.done("GET", "/v1/config/differences")["differences"]}
        assert differences == {f"pools.default.cache.{key}" for key in ("enabled", "ttl", "key_headers")}


# Purges


def test_a_purge_is_in_force_in_all_workers_when_it_is_answered(emptied: Callable[[], Admin]) -> None:
    admin = emptied()
    for number in range(1, 6):
        assert bodies(admin, count=6) == {number}
        assert admin.done("DELETE", CACHE)["purged"] == 1


def test_a_path_is_purged_with_every_query_and_nothing_else(emptied: Callable[[], Admin]) -> None:
    admin = emptied()
    before = {path: body(admin, path) for path in ("/a", "/a?b=1", "/ab", "/b")}
    assert admin.done("DELETE", f"{CACHE}?path=/a")["purged"] == 2
    after = {path: body(admin, path) for path in before}
    assert [path for path in before if after[path] != before[path]] == ["/a", "/a?b=1"]


def test_a_path_with_a_query_is_purged_alone(emptied: Callable[[], Admin]) -> None:
    admin = emptied()
    before = {path: body(admin, path) for path in ("/a", "/a?b=1", "/a?b=12")}
    assert admin.done("DELETE", f"{CACHE}?path=/a%3Fb%3D1")["purged"] == 1
    after = {path: body(admin, path) for path in before}
    assert [path for path in before if after[path] != before[path]] == ["/a?b=1"]


def test_a_prefix_is_purged(emptied: Callable[[], Admin]) -> None:
    admin = emptied()
    before = {path: body(admin, path) for path in ("/img/1", "/img/2?x", "/imp", "/")}
    assert admin.done("DELETE", f"{CACHE}?prefix=/img")["purged"] == 2
    after = {path: body(admin, path) for path in before}
    assert [path for path in before if after[path] != before[path]] == ["/img/1", "/img/2?x"]


@pytest.mark.parametrize("query", ["", "?path=/", "?prefix=/"])
def test_what_is_on_its_way_during_a_purge_is_not_kept(stage: Stage, administer: Administer, query: str) -> None:
    gate = stage.gate()
    admin = administer(stage.target(waits(gate)))
    with Client(admin.balancer.port) as client:
        client.send(get("/"))
        eventually(lambda: gate.reached, lambda count: count == 1)
        assert admin.done("DELETE", CACHE + query)["purged"] == 0
        gate.open()
        assert client.answer().body == b"ok"
    assert settled(admin, refused=1)["entries"] == 0


def test_a_purge_of_a_cache_that_is_off_drops_nothing(stage: Stage, administer: Administer) -> None:
    assert administer(stage.target(), pool="").done("DELETE", CACHE)["purged"] == 0


@pytest.mark.parametrize(("role", "status"), [("read", 403), ("", 401)])
def test_a_purge_needs_the_right_to(emptied: Callable[[], Admin], role: str, status: int) -> None:
    admin = emptied()
    assert bodies(admin) == {1}
    assert admin.ask("DELETE", CACHE, role=role).status == status
    assert bodies(admin) == {1}


# What is seen of it


def test_the_statistics_count_over_all_workers(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()))
    assert admin.done("GET", CACHE)["hit_ratio"] is None
    for _ in range(20):
        assert body(admin) == 1
    found = settled(admin, hits=19, misses=1, stores=1, entries=1)
    assert (found["hit_ratio"], found["max_bytes"]) == (0.95, 64 << 20)
    assert admin.status()["pools"]["default"]["cache"]["hits"] == 19
    samples = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in metrics(admin).splitlines()}
    assert samples['equipoise_cache_hits_total{pool="default"}'] == "19.0"
    assert samples['equipoise_cache_entries{pool="default"}'] == "1.0"


def metrics(admin: Admin) -> str:
    return admin.ask("GET", "/metrics").body.decode()


def test_a_switch_and_a_purge_are_told_as_changes(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(), pool="")
    admin.done("PUT", CACHE, {"enabled": True})
    admin.done("DELETE", f"{CACHE}?path=/a")
    told = [each["what"] for each in admin.done("GET", "/v1/events/recent")["events"] if each["kind"] == "change"]
    assert told == ["cache of pool default changed: enabled = true", "cache of pool default purged: 0 answers of /a"]
    purged = admin.balancer.wait_for("cache purged")
    assert (purged["pool"], purged["path"], purged["dropped"]) == ("default", "/a", 0)


# Workers that die


def test_the_successor_of_a_worker_finds_what_the_others_stored(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()))
    assert bodies(admin) == {1}
    before = {worker["pid"] for worker in admin.status()["workers"]}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: admin.status()["workers"], lambda now: len(now) == 2 and not before & {w["pid"] for w in now})
    eventually(lambda: admin.ask("GET", "/readyz").status, lambda status: status == 200)
    assert bodies(admin) == {1}


def test_what_a_dead_worker_was_fetching_is_fetched_by_another(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    admin = administer(stage.target(waits(gate)), workers=2)
    followers = [Client(admin.balancer.port).send(get("/", "Connection: close")) for _ in range(12)]
    eventually(lambda: gate.reached, lambda count: count == 1)
    settled(admin, followed=11)
    (row,) = [row for row, count in enumerate(admin.balancer.cells()[0]) if count]
    os.kill(next(each["pid"] for each in admin.status()["workers"] if each["row"] == row), signal.SIGKILL)
    eventually(lambda: gate.reached, lambda count: count == 2)
    gate.open()
    # The clients of the dead worker see their connections end; those of the other are answered.
    answers = [client.rest() for client in followers if not client.is_closed()]
    assert any(b"200 OK" in each for each in answers)
    assert gate.reached == 2


# From the command line


def types(admin: Admin, *words: str, code: int = 0) -> str:
    """What a command prints that must end so."""
    command = [sys.executable, "-m", "equipoise", *words]
    env = {**environment(), "EQUIPOISE_ADMIN": admin.balancer.admin}
    done = subprocess.run(
        command, cwd=admin.balancer.folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def test_the_command_line_switches_tunes_purges_and_shows(stage: Stage, administer: Administer) -> None:
    admin = administer(stage.target(counts()), pool="")
    said = types(admin, "cache", "on", "--ttl", "1h", "--methods", "GET,POST")
    assert said == "cache of pool default: on, mode identical, ttl 1h (configuration 2)\n"
    assert bodies(admin) == {1}
    settled(admin, hits=11)
    header, row = (line.split() for line in types(admin, "cache", "stats").splitlines())
    assert header[:3] == ["pool", "cache", "mode"]
    assert row[:5] == ["default", "on", "identical", "1h", "1"]
    assert types(admin, "cache", "purge", "--prefix", "/") == "cache of pool default: 1 answer dropped\n"
    assert bodies(admin) == {2}
    assert "pools.default.cache.ttl" in types(admin, "config", "--diff", code=1)
    assert types(admin, "cache", "off") == "cache of pool default: off (configuration 3)\n"
    assert json.loads(types(admin, "cache", "stats", "--json"))["pools"]["default"]["enabled"] is False
    assert len(bodies(admin, count=4)) == 4
