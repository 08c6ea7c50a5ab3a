"""What the scenarios of the admin API share.

Owns: a balancer with an admin API, for one test or for all tests of a module.
Refuses to know: any scenario.
"""

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.stage import Stage, Target

Administer = Callable[..., Admin]


@pytest.fixture
def administer(balance: Balance) -> Administer:
    """Starts balancers with an admin API in front of targets; `pool` and `more` are added to the file."""

    def start(targets: Sequence[Target], workers: int = 2, pool: str = "", more: str = "") -> Admin:
        return Admin(balance(targets, Setting(workers=workers, admin=True, pool=pool, more=more)))

    return start


@pytest.fixture(scope="module")
def shared_admin(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """A balancer with an admin API before two targets, for all tests of a module that only are refused."""
    targets = [shared_stage.target(), shared_stage.target()]
    folder = tmp_path_factory.mktemp("admin")
    with Balancer(folder, Setting(admin=True).text([target.url for target in targets])) as balancer:
        yield Admin(balancer)
