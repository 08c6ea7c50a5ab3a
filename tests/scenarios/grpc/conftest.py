"""What the gRPC scenarios share: targets in processes of their own, ended behind the balancers that stand before them.

Owns: the fixtures.
Refuses to know: any scenario.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import DEFAULT, Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.grpc_peers import GrpcStage, GrpcTarget, SyncClient

# Starts a balancer before targets of any kind: each has a `url`.
Before = Callable[..., Balancer]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncClient]:
    """A client of a balancer before one target, for all tests of a module that need nothing of their own."""
    folder = tmp_path_factory.mktemp("shared")
    with (
        GrpcTarget(folder) as target,
        Balancer(folder, DEFAULT.text([target.url])) as balancer,
        SyncClient(balancer.port) as shared,
    ):
        yield shared


@pytest.fixture
def grpc_stage(tmp_path: Path) -> Iterator[GrpcStage]:
    """Where gRPC targets are started."""
    with GrpcStage(tmp_path) as stage:
        yield stage


@pytest.fixture
def before(grpc_stage: GrpcStage, balance: Balance) -> Before:  # noqa: ARG001  (which is ended behind these)
    """Starts balancers that end before the targets do."""

    def start(targets: Sequence[Any], setting: Setting = DEFAULT) -> Balancer:
        return balance(targets, setting)

    return start
