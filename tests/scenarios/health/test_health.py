"""A target that stops answering is out at once, and gets its share back when it returns."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import Background, Load, fetch
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.real_target import RealTarget
from tests.scenarios.support.stage import Call, Stage, Target, answer, hangs, resets, says

QUICK_PROBES = 'health.interval = "100ms"\nhealth.down_interval = "100ms"'
StartTarget = Callable[..., RealTarget]


def tables(targets: list[RealTarget], more: str = "") -> str:
    """The pool's targets, for targets that are no scripted ones."""
    return more + "".join(f'\n[[pools.default.targets]]\nurl = "{target.url}"' for target in targets)


def shares(bodies: Mapping[bytes, int]) -> Counter[str]:
    """Answers of each demo target, which names itself."""
    counts: Counter[str] = Counter()
    for body, count in bodies.items():
        counts[json.loads(body)["name"]] += count
    return counts


def wait_avoided(balancer: Balancer, target: Target, requests: int = 20) -> None:
    """Returns when requests no longer go to a target."""

    def met() -> int:
        before = len(target.requests)
        for _ in range(requests):
            fetch(balancer.port)
        return len(target.requests) - before

    eventually(met, lambda count: count == 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_kill_of_a_target_under_load_costs_no_get_and_its_return_brings_its_share(
    balance: Balance, real_targets: StartTarget, workers: int, scale: int
) -> None:
    targets = [real_targets(delay=20) for _ in range(3)]
    setting = Setting(workers=workers, pool=tables(targets, 'health.down_interval = "200ms"'))
    balancer = balance([], setting)
    load = Load(balancer.port, 100 if scale > 1 else 30)
    with Background(load) as background:
        background.wait_for(100 * scale)
        targets[1].kill()
        background.wait_for(100 * scale)
        balancer.wait_for("target down", target=targets[1].name)
        targets[1].start()
        balancer.wait_for("target up", target=targets[1].name)
        background.wait_for(20 * scale)
        load.results.bodies.clear()
        background.wait_for(200 * scale)
        counts = shares(load.results.bodies.copy())
    load.results.assert_all_good()
    assert counts[targets[1].name] > sum(counts.values()) * 0.2, counts
    balancer.wait_idle()


def test_a_target_that_hangs_is_out_after_its_timeouts_and_comes_back(
    balance: Balance, real_targets: StartTarget
) -> None:
    targets = [real_targets() for _ in range(2)]
    setting = Setting(
        pool=tables(targets, 'health.passive.eject_min = "200ms"'), more="[limits]\nresponse_timeout = '300ms'"
    )
    balancer = balance([], setting)
    load = Load(balancer.port, 6)
    with Background(load) as background:
        background.wait_for(20)
        targets[0].signal(signal.SIGSTOP)
        down = balancer.wait_for("target down", target=targets[0].name)
        assert "no response in time" in down["reason"] or "probe" in down["reason"]
        background.wait_for(20)
        targets[0].signal(signal.SIGCONT)
        balancer.wait_for("target up", target=targets[0].name)
        load.results.bodies.clear()
        eventually(lambda: shares(load.results.bodies.copy())[targets[0].name])
    load.results.assert_all_good()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_target_that_fails_fast_is_out_and_not_rewarded(stage: Stage, balance: Balance, status: int) -> None:
    bad, good = stage.target(says(answer(f"{status} Failing"))), stage.target()
    balancer = balance([bad, good], Setting(pool='health.passive.eject_min = "30s"'))
    for _ in range(10):
        fetch(balancer.port)
    down = balancer.wait_for("target down", target=bad.name)
    assert down["reason"] == "answers failed: bad status"
    wait_avoided(balancer, bad)
    assert fetch(balancer.port).status == 200


def test_a_target_that_answers_500_is_not_out(stage: Stage, balance: Balance) -> None:
    bad, good = stage.target(says(answer("500 Own Fault"))), stage.target()
    balancer = balance([bad, good])
    for _ in range(12):
        fetch(balancer.port)
    assert len(bad.requests) == len(good.requests) == 6
    assert balancer.find("target down") == []


@pytest.mark.parametrize(("script", "why"), [(resets, "reset"), (says(b"nonsense\r\n\r\n"), "malformed")])
def test_a_target_that_breaks_its_answers_is_out(
    stage: Stage, balance: Balance, script: Callable[[Call], object], why: str
) -> None:
    bad, good = stage.target(script), stage.target()  # type: ignore[arg-type]  # pytest's table loses the type
    balancer = balance([bad, good], Setting(pool='health.passive.eject_min = "30s"'))
    for _ in range(10):
        fetch(balancer.port)
    assert why in balancer.wait_for("target down", target=bad.name)["reason"]
    wait_avoided(balancer, bad)


def test_good_answers_between_failures_keep_a_target_in(stage: Stage, balance: Balance) -> None:
    async def fails_every_second(call: Call) -> None:
        failing = len(call.target.requests) % 2
        await call.send(answer("503 Busy") if failing else answer())

    target = stage.target(fails_every_second)
    balancer = balance([target, stage.target()])
    for _ in range(40):
        fetch(balancer.port)
    assert balancer.find("target down") == []
    assert len(target.requests) == 20


def test_the_last_target_that_fails_its_answers_is_kept(stage: Stage, balance: Balance) -> None:
    target = stage.target(says(answer("503 Busy", b"mine")))
    balancer = balance([target])
    for _ in range(10):
        assert fetch(balancer.port).body == b"mine"
    assert balancer.find("target down") == []


def test_with_all_targets_down_the_answer_is_503_at_once(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.closed_port(), stage.closed_port()], Setting(workers=2))
    message = eventually(lambda: fetch(balancer.port), lambda answer: answer.status == 503)
    assert int(message.get("retry-after") or 0) >= 1
    assert message.get("content-type") == "application/problem+json"


def test_with_all_targets_down_panic_tries_them_all_the_same(stage: Stage, balance: Balance) -> None:
    target = stage.target(says(answer("404 For Probes Only")))
    balancer = balance(
        [target], Setting(pool=f'panic = true\nhealth.type = "http"\nhealth.expect = 200\n{QUICK_PROBES}')
    )
    balancer.wait_for("target down")
    assert fetch(balancer.port).status == 404


def test_a_target_is_found_down_and_up_without_any_traffic(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], Setting(pool=QUICK_PROBES))
    target.stop()
    assert "probe" in balancer.wait_for("target down", target=target.name)["reason"]
    target.start()
    balancer.wait_for("target up", target=target.name)
    eventually(lambda: fetch(balancer.port), lambda message: message.body == b"ok")
    assert target.paths == ["/"]


def test_without_probes_a_target_heals_by_itself(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], Setting(pool='health.type = "none"\nhealth.passive.eject_min = "200ms"'))
    target.stop()
    assert fetch(balancer.port).status == 502
    balancer.wait_for("target down", target=target.name)
    target.start()
    balancer.wait_for("target up", target=target.name)
    eventually(lambda: fetch(balancer.port), lambda message: message.status == 200)


def test_an_http_probe_asks_for_its_path_and_judges_the_status(stage: Stage, balance: Balance) -> None:
    healthy = True

    async def is_well(call: Call) -> None:
        well = call.request.target != "/healthz" or healthy
        await call.send(answer("200 OK" if well else "500 Ill"))

    target, other = stage.target(is_well), stage.target()
    pool = f'health.type = "http"\nhealth.path = "/healthz"\n{QUICK_PROBES}'
    balancer = balance([target, other], Setting(pool=pool))
    eventually(lambda: "/healthz" in target.paths)
    assert balancer.find("target down") == []
    healthy = False
    down = balancer.wait_for("target down", target=target.name)
    assert "500" in down["reason"]
    eventually(lambda: [fetch(balancer.port).status for _ in range(4)], lambda seen: set(seen) == {200})
    healthy = True
    balancer.wait_for("target up", target=target.name)


def test_a_probe_that_hangs_is_a_failed_one(stage: Stage, balance: Balance) -> None:
    async def hangs_for_probes(call: Call) -> None:
        await (hangs(call) if call.request.target == "/healthz" else call.send(answer()))

    target = stage.target(hangs_for_probes)
    pool = f'health.type = "http"\nhealth.path = "/healthz"\nhealth.timeout = "100ms"\n{QUICK_PROBES}'
    balancer = balance([target, stage.target()], Setting(pool=pool))
    assert "no answer in 0.1 s" in balancer.wait_for("target down", target=target.name)["reason"]


def test_a_target_that_keeps_failing_stays_out_longer_each_time(stage: Stage, balance: Balance) -> None:
    bad, good = stage.target(says(answer("502 Bad"))), stage.target()
    passive = 'failures = 1\nhealth.passive.eject_min = "100ms"\nhealth.passive.eject_max = "30s"'
    balancer = balance([bad, good], Setting(pool=f"health.passive.{passive}\n{QUICK_PROBES}"))
    load = Load(balancer.port, 2)
    with Background(load):
        eventually(lambda: len(balancer.find("target up", target=bad.name)), lambda count: count >= 3)
    # Three ejections of at least 100, 200 and 400 ms: far fewer requests met it than met the other.
    assert len(bad.requests) < len(good.requests) / 10


def with_hosts(hosts: Path) -> list[str]:
    """Runs a command with a hosts file of its own; skips the test where the system does not allow it."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here, so the balancer cannot have a hosts file of its own")
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]


@pytest.mark.needs("unshare")
def test_a_target_that_comes_back_at_another_address_is_found(stage: Stage, balance: Balance, tmp_path: Path) -> None:
    """As a container does."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 wanderer.test\n")
    before = stage.target(says(answer("200 OK", b"before")), "127.0.0.2")
    after = stage.target(says(answer("200 OK", b"after")), "127.0.0.3")
    after.stop()
    after.port = before.port
    pool = f'{QUICK_PROBES}\n[[pools.default.targets]]\nurl = "http://wanderer.test:{before.port}"'
    balancer = balance([], Setting(pool=pool), with_hosts(hosts))
    assert fetch(balancer.port).body == b"before"
    before.stop()
    after.start()
    # In place: the balancer sees this very file, and a new one under the name would not be it.
    with hosts.open("r+") as file:
        file.write("127.0.0.3 wanderer.test\n")
    eventually(lambda: fetch(balancer.port).body, lambda body: body == b"after")
    for _ in range(5):
        assert fetch(balancer.port).body == b"after"


@pytest.mark.needs("unshare")
def test_a_name_with_two_addresses_serves_while_one_of_them_answers(
    stage: Stage, balance: Balance, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 twin.test\n127.0.0.3 twin.test\n")
    target = stage.target(says(answer("200 OK", b"ok", "Connection: close")), host="127.0.0.3")
    pool = f'{QUICK_PROBES}\n[[pools.default.targets]]\nurl = "http://twin.test:{target.port}"'
    balancer = balance([], Setting(pool=pool), with_hosts(hosts))
    for _ in range(6):
        assert fetch(balancer.port).body == b"ok"
    assert balancer.find("target down") == []
