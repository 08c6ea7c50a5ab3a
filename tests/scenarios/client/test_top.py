"""An operator watches a running balancer."""

import json
import signal
import subprocess

from tests.scenarios.client.conftest import Operate
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Background, Load, fetch
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Stage
from tests.support.terminal import Terminal


def test_requests_are_seen_as_a_rate(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()], Setting(admin=True, workers=2))
    load = Load(operator.balancer.port, 4)
    with Background(load) as background:
        background.wait_for(4)
        lines = operator.gets("top", "--count", "2", "--interval", "1").splitlines()
    load.results.assert_all_good()
    fields = dict(field.split("=", 1) for field in lines[-2].split()[1:])
    assert (fields["workers"], float(fields["requests/s"]) > 0) == ("2", True)
    assert f"target={stage.targets[0].name} health=up" in lines[-1]


def test_a_restart_of_the_balancer_is_told_and_survived(stage: Stage, operate: Operate) -> None:
    operator = operate([stage.target()])
    # Its successor must be found at the same address.
    port = operator.balancer.admin.rpartition(":")[2]
    text = operator.balancer.config.read_text().replace(
        'listen = "127.0.0.1:0"\n[access', f'listen = "127.0.0.1:{port}"\n[access'
    )
    command = operator.command("top", "--interval", "0.1", "--json")
    folder = operator.balancer.folder
    with (folder / "top").open("wb") as out:
        watching = subprocess.Popen(command, cwd=folder, env=operator.env, stdout=out)
    try:
        eventually(lambda: seen(operator.balancer, "version"))
        operator.balancer.signal(signal.SIGTERM)
        operator.balancer.wait_exit()
        eventually(lambda: seen(operator.balancer, "error"))
        with Balancer(folder, text):
            eventually(lambda: "version" in json.loads(last(operator.balancer)))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE) == 0
    finally:
        watching.kill()
        watching.wait()


def seen(balancer: Balancer, key: str) -> bool:
    return any(key in json.loads(line) for line in (balancer.folder / "top").read_text().split("\n")[:-1])


def last(balancer: Balancer) -> str:
    return (balancer.folder / "top").read_text().split("\n")[-2]


def test_a_target_that_dies_is_seen_on_the_terminal(stage: Stage, operate: Operate) -> None:
    target, other = stage.target(), stage.target()
    operator = operate([target, other])
    command = operator.command("top", "--interval", "0.1", "-c", str(operator.balancer.config))
    # No secret is found from here: the state directory is relative to where the balancer was started.
    env = {**operator.env, "EQUIPOISE_TOKEN": operator.gets("token").strip()}
    with Terminal(command, env) as terminal:
        terminal.wait_for("2 of 2 up")
        target.stop()
        fetch(operator.balancer.port, GET)
        lines = terminal.wait_for("1 of 2 up")
        assert any(line.startswith(f"✗ {target.name}") for line in lines)
        assert any(f"default/{target.name} up → down" in line for line in terminal.wait_for("up → down"))
        terminal.press("q")
        assert terminal.wait_exit() == 0
