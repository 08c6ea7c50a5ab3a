"""The commands that talk to the admin API, run as an operator runs them: beside the configuration file.

Owns: an operator of a balancer.
Refuses to know: any command.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.support.balancer import Balancer, Setting, environment
from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.support.stage import Target

WITHOUT = ("EQUIPOISE_ADMIN", "EQUIPOISE_TOKEN", "EQUIPOISE_CONFIG", "STATE_DIRECTORY")


class Operator:
    """Types commands in the balancer's folder: file and secret are there, the address comes from the environment."""

    def __init__(self, balancer: Balancer) -> None:
        """Knows where the API is served now."""
        self.balancer = balancer
        self.env = {key: value for key, value in environment().items() if key not in WITHOUT}
        self.env["EQUIPOISE_ADMIN"] = balancer.admin

    def types(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """The command's end, whatever it is."""
        return subprocess.run(
            self.command(*words),
            cwd=self.balancer.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def command(self, *words: str) -> list[str]:
        """For those who start it themselves."""
        return [sys.executable, "-m", "equipoise", *words]

    def gets(self, *words: str) -> str:
        """What a command prints that must succeed without a word of complaint."""
        done = self.types(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """`equipoise status --json`."""
        answer: dict[str, Any] = json.loads(self.gets("status", "--json"))
        return answer

    def target(self, name: str) -> dict[str, Any]:
        """One target of the pool `default` in the status."""
        targets = self.status()["pools"]["default"]["targets"]
        return next((target for target in targets if target["name"] == name), {})


Operate = Callable[..., Operator]
Lent = Callable[[], tuple[Operator, Target]]


@pytest.fixture
def operate(balance: Balance) -> Operate:
    """An operator of a new balancer."""

    def operate(targets: list[Target], setting: Setting = Setting(admin=True)) -> Operator:  # noqa: B008 -- frozen
        return Operator(balance(targets, setting))

    return operate


@pytest.fixture
def lent(lend: Lend) -> Lent:
    """An operator of a balancer that others have operated, who changes nothing, and the target behind it."""

    def operate() -> tuple[Operator, Target]:
        balancer, target = lend(setting=Setting(admin=True))
        return Operator(balancer), target

    return operate
