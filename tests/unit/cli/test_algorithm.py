import json

import pytest

from tests.support.admin_api import ScriptedApi, status
from tests.unit.cli.conftest import Run

PUT = "PUT /v1/pools/default/algorithm"


@pytest.fixture(autouse=True)
def known(api: ScriptedApi) -> None:
    """Two algorithms."""
    found = [{"name": "random", "promise": "a random one"}, {"name": "least_in_flight", "promise": "the least busy"}]
    api.says("GET /v1/algorithms", {"algorithms": found})


def test_without_a_name_all_are_shown_with_their_promise(run: Run) -> None:
    assert run("algorithm").stdout.splitlines() == [
        "pool default: least_in_flight",
        "",
        "  random           a random one",
        "* least_in_flight  the least busy",
    ]


def test_without_a_name_every_pool_is_shown(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", status(web=[], images=[]))
    assert run("algorithm").stdout.startswith("pool web: least_in_flight\npool images: least_in_flight\n\n")


def test_json_has_the_pools_and_what_is_known(run: Run) -> None:
    answer = json.loads(run("algorithm", "--json").stdout)
    assert answer["pools"] == {"default": "least_in_flight"}
    assert [each["name"] for each in answer["algorithms"]] == ["random", "least_in_flight"]


def test_a_name_switches_the_pool(api: ScriptedApi, run: Run) -> None:
    api.says(PUT, {"version": 8, "pool": "default", "algorithm": "random"})
    assert run("algorithm", "random").stdout == "pool default: algorithm random (configuration 8)\n"
    assert api.asked("PUT")[0].body == {"algorithm": "random"}


def test_the_answer_to_a_switch_as_json(api: ScriptedApi, run: Run) -> None:
    api.says(PUT, b'{"version":8}')
    assert run("algorithm", "random", "--json").stdout == '{"version":8}\n'


def test_with_several_pools_a_switch_needs_one(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", status(web=[], images=[]))
    result = run("algorithm", "random")
    assert (result.exit_code, api.asked("PUT")) == (2, [])
    assert result.stderr == "equipoise algorithm: there are several pools; choose one with --pool: web, images\n"


def test_an_unknown_algorithm_is_refused_with_its_place(api: ScriptedApi, run: Run) -> None:
    api.refuses(PUT, 422, "invalid", ("algorithm", 'unknown algorithm "rando"; did you mean "random"?'))
    result = run("algorithm", "rando")
    assert result.exit_code == 1
    assert result.stderr == 'equipoise algorithm: algorithm: unknown algorithm "rando"; did you mean "random"?\n'
