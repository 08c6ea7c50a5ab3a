"""Fixtures for tests with a balancer in them; pytest finds them where Equipoise is installed.

Owns: the fixtures.
Refuses to know: how a balancer is started (`balancer`).

pytest imports this module in every run, so it imports nothing of the balancer itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from equipoise.library.running import Running
    from equipoise.library.settings import Configuration


class StartBalancer(Protocol):
    """What the fixture `equipoise_balancer` is: call it, and a balancer runs until the test ends."""

    def __call__(self, configuration: "Configuration", *, free_ports: bool = False) -> "Running":
        """Start a balancer; see `equipoise.Balancer`.

        Raises:
            ConfigError: the configuration is not valid.
            BalancerError: it did not start.
        """
        ...


@pytest.fixture
def equipoise_balancer(tmp_path: Path) -> Iterator[StartBalancer]:
    """Starts balancers that end with the test, the last one first.

    Their files (configuration, logs, state) are in `tmp_path`, which pytest keeps for the last few runs. A balancer
    that does not leave in order is an error of the test that had it.
    """
    from equipoise.library.balancer import Balancer  # noqa: PLC0415 -- see the module

    with ExitStack() as balancers:
        count = 0

        def start(configuration: "Configuration", *, free_ports: bool = False) -> "Running":
            nonlocal count
            count += 1
            folder = tmp_path / f"equipoise-{count}"
            return balancers.enter_context(Balancer(configuration, free_ports=free_ports, folder=folder))

        yield start
