"""What the scenarios share: a stage with scripted targets, and balancers that are ended whatever happens.

Owns: the fixtures.
Refuses to know: any scenario.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.scenarios.support.balancer import COMPILED, Balancer, Setting, urls
from tests.scenarios.support.client import Client
from tests.scenarios.support.real_target import RealTarget
from tests.scenarios.support.stage import Script, Stage, Target, answer, says

DEFAULT = Setting()


class Balance(Protocol):
    """Starts a balancer in front of targets."""

    def __call__(self, targets: Sequence[Target], setting: Setting = ..., wrapper: Sequence[str] = ...) -> Balancer: ...


class Lend(Protocol):
    """Lends a balancer and the target behind it to tests that leave both as they were."""

    def __call__(self, script: Script | None = None, setting: Setting = ...) -> tuple[Balancer, Target]: ...


@pytest.fixture(autouse=True)
def leaves_no_client() -> Iterator[None]:
    """Closes what a test left open."""
    yield
    for client in list(Client.all_open):
        client.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Where scripted targets live."""
    with Stage() as stage:
        yield stage


@pytest.fixture
def balance(stage: Stage, tmp_path: Path) -> Iterator[Balance]:
    """Starts balancers that end with the test, before their targets do."""
    assert stage.targets == []
    with ExitStack() as balancers:
        count = 0

        def start(targets: Sequence[Target], setting: Setting = DEFAULT, wrapper: Sequence[str] = ()) -> Balancer:
            nonlocal count
            count += 1
            folder = tmp_path / f"balancer-{count}"
            folder.mkdir()
            for name, text in setting.files:
                (folder / name).write_text(text)
            return balancers.enter_context(Balancer(folder, setting.text(urls(targets)), wrapper))

        yield start


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """A stage for all tests of a module."""
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def shared_target(shared_stage: Stage) -> Target:
    """The one target behind `shared`; a test says `forget` first."""
    return shared_stage.target()


@pytest.fixture(scope="module")
def shared(shared_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer with default settings before one target, for all tests of a module."""
    folder = tmp_path_factory.mktemp("shared")
    with Balancer(folder, Setting().text([shared_target.url])) as balancer:
        yield balancer


@pytest.fixture(scope="module")
def lend(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory, outliving: set[int]) -> Iterator[Lend]:
    """One balancer for each setting that a module's tests ask for: idle, before a target without memory of others."""
    made: dict[Setting, tuple[Balancer, Target]] = {}
    with ExitStack() as balancers:

        def lend(script: Script | None = None, setting: Setting = DEFAULT) -> tuple[Balancer, Target]:
            if setting not in made:
                target = shared_stage.target()
                folder = tmp_path_factory.mktemp("lent")
                balancer = balancers.enter_context(Balancer(folder, setting.text([target.url])))
                outliving.add(balancer.process.pid)
                made[setting] = balancer, target
            balancer, target = made[setting]
            balancer.wait_idle()
            target.forget(script or says(answer()))
            return balancer, target

        yield lend


@pytest.fixture
def real_targets(tmp_path: Path) -> Iterator[Callable[..., RealTarget]]:
    """Starts `equipoise target` processes that end with the test."""
    with ExitStack() as targets:

        def start(**options: object) -> RealTarget:
            return targets.enter_context(RealTarget(tmp_path, options))

        yield start


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times larger a load may be than in the interpreted mode, which is 20 times slower."""
    return 10 if COMPILED else 1
