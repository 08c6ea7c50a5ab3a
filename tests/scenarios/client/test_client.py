"""An operator changes a running balancer from the command line."""

import json
import signal
import subprocess

import pytest

from tests.scenarios.client.conftest import Lent, Operate
from tests.scenarios.support.balancer import Setting, urls
from tests.scenarios.support.client import GET, Client, fetch, get
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Call, Stage, answer, says

TWO_POOLS = '[pools.images]\ntargets = []\n[[routes]]\npath = "/i"\npool = "images"\n[[routes]]\npool = "default"\n'


def test_the_status_shows_every_target(stage: Stage, operate: Operate) -> None:
    target = stage.target()
    operator = operate([target, stage.closed_port()])
    eventually(lambda: operator.target(stage.targets[1].name)["health"], lambda health: health == "down")
    rows = [line.split() for line in operator.gets("status").splitlines()]
    assert [target.name, "up"] in [row[:2] for row in rows]
    assert [stage.targets[1].name, "down"] in [row[:2] for row in rows]


def test_without_a_token_one_is_made_from_the_secret(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    assert operator.types("status").returncode == 0
    (operator.balancer.folder / "state" / "jwt-secret").rename(operator.balancer.folder / "hidden")
    done = operator.types("status")
    assert done.returncode == 1
    assert done.stderr.startswith("equipoise status: a token is needed: give one with --token or EQUIPOISE_TOKEN;")


def test_a_token_of_the_token_command_is_taken(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    token = operator.gets("token", "--role", "read").strip()
    (operator.balancer.folder / "equipoise.toml").unlink()
    assert operator.types("status", EQUIPOISE_TOKEN=token).returncode == 0
    done = operator.types("algorithm", "random", "--token", token)
    assert done.returncode == 1
    assert "`equipoise token --role admin` makes one that does" in done.stderr


def test_an_added_target_gets_requests_and_a_removed_one_none(stage: Stage, operate: Operate) -> None:
    first, second = stage.target(says(answer(body=b"first"))), stage.target(says(answer(body=b"second")))
    operator = operate([first])
    assert "added d to pool default" in operator.gets("targets", "add", second.url, "--name", "d")
    operator.gets("targets", "remove", first.name)
    assert {fetch(operator.balancer.port, GET).body for _ in range(4)} == {b"second"}
    assert operator.gets("targets", "list").splitlines()[1].split()[:2] == ["d", second.url]


def test_waiting_for_a_removal_returns_when_the_last_request_has_ended(stage: Stage, operate: Operate) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    target = stage.target(waits)
    operator = operate([target, stage.target()])
    operator.gets("targets", "drain", stage.targets[1].name)
    with Client(operator.balancer.port) as client:
        client.send(get())
        eventually(lambda: gate.reached)
        command = operator.command("targets", "remove", target.name, "--wait")
        with subprocess.Popen(
            command, cwd=operator.balancer.folder, env=operator.env, stdout=subprocess.PIPE, text=True
        ) as removal:
            eventually(lambda: "removed" in str(operator.target(target.name).get("reason")))
            assert removal.poll() is None
            gate.open()
            out, _ = removal.communicate(timeout=PATIENCE)
        assert client.answer().status == 200
    assert (removal.returncode, "may finish" in out) == (0, False)
    assert operator.target(target.name) == {}


def test_a_drained_target_gets_nothing_until_it_is_enabled(stage: Stage, operate: Operate) -> None:
    first, second = stage.target(), stage.target()
    operator = operate([first, second])
    operator.gets("targets", "drain", first.name)
    for _ in range(4):
        fetch(operator.balancer.port, GET)
    assert (len(first.paths), len(second.paths)) == (0, 4)
    operator.gets("targets", "enable", first.name)
    for _ in range(4):
        fetch(operator.balancer.port, GET)
    assert len(first.paths) > 0


def test_settings_of_a_target_are_changed_and_kept(stage: Stage, operate: Operate) -> None:
    target = stage.target()
    operator = operate([target])
    operator.gets("targets", "set", target.name, "--weight", "7", "--max-in-flight", "9")
    found = operator.target(target.name)
    assert (found["weight"], found["max_in_flight"]) == (7, 9)


def test_the_algorithm_is_switched(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    operator.gets("algorithm", "round_robin")
    assert operator.gets("algorithm").startswith("pool default: round_robin\n")
    assert operator.status()["pools"]["default"]["algorithm"] == "round_robin"


@pytest.mark.parametrize(
    ("words", "says_so"),
    [
        (["algorithm", "rando"], 'did you mean "random"?'),
        (["targets", "add", "ftp://x"], "url: "),
        (["targets", "remove", "nobody"], 'there is no target "nobody" in pool default'),
        (["targets", "list", "--pool", "defaul"], 'there is no pool "defaul"; did you mean "default"?'),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(lent: Lent, words: list[str], says_so: str) -> None:
    operator, _ = lent()
    version = operator.status()["version"]
    done = operator.types(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says_so in done.stderr
    assert operator.status()["version"] == version


def test_a_target_that_is_there_already_is_a_conflict(lent: Lent) -> None:
    operator, target = lent()
    done = operator.types("targets", "add", target.url)
    assert done.returncode == 1
    assert "already" in done.stderr


def test_with_two_pools_a_change_needs_one(stage: Stage, operate: Operate) -> None:
    target = stage.target()
    operator = operate([target], Setting(admin=True, more=TWO_POOLS))
    done = operator.types("targets", "drain", target.name)
    assert (done.returncode, "choose one with --pool: default, images" in done.stderr) == (2, True)
    operator.gets("targets", "add", target.url, "--pool", "images")
    assert len(operator.status()["pools"]["images"]["targets"]) == 1


def test_the_difference_from_the_file_is_shown_until_there_is_none(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    assert operator.types("config", "--diff").returncode == 0
    operator.gets("algorithm", "random")
    done = operator.types("config", "--diff")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == 'pools.default.algorithm: "least_in_flight" in the file, "random" running\n'
    operator.gets("algorithm", "least_in_flight")
    assert operator.types("config", "--diff").returncode == 0


def test_the_configuration_is_json(lent: Lent) -> None:
    operator, target = lent()
    assert json.loads(operator.gets("config"))["pools"]["default"]["targets"][0]["url"] == target.url


def test_a_reload_takes_up_the_file(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    other = stage.target()
    operator.balancer.config.write_text(Setting(admin=True).text(urls([other])))
    assert operator.gets("reload").startswith("reloaded (configuration ")
    assert fetch(operator.balancer.port, GET).status == 200
    assert len(other.paths) == 1


def test_a_reload_of_a_bad_file_tells_every_problem_and_changes_nothing(stage: Stage, operate: Operate) -> None:
    """The client reads the address and makes its token from that very file."""
    operator = operate([stage.target()])
    text = Setting(admin=True, more="weight = 3\n[limits]\nidle_timeout = 5").text(urls(stage.targets))
    operator.balancer.config.write_text(text)
    done = operator.types("reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        " pools.default.weight",
        " limits.idle_timeout",
    ]
    assert fetch(operator.balancer.port, GET).status == 200


def test_a_balancer_that_is_gone_is_told_with_its_address(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    operator.balancer.signal(signal.SIGTERM)
    operator.balancer.wait_exit()
    done = operator.types("status")
    assert done.returncode == 1
    assert done.stderr == (
        f"equipoise status: cannot reach {operator.env['EQUIPOISE_ADMIN']} (EQUIPOISE_ADMIN): Connection refused; "
        "is the balancer running?\n"
    )


def test_the_port_of_clients_is_not_the_admin_api(lent: Lent) -> None:
    operator, _ = lent()
    done = operator.types("status", "--admin", f"http://127.0.0.1:{operator.balancer.port}")
    assert done.returncode == 1
    assert "not in the words of the admin API" in done.stderr
