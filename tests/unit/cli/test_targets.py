import pytest

from tests.support.admin_api import ScriptedApi, status, target
from tests.unit.cli.conftest import Run

TARGETS = "/v1/pools/default/targets"


def test_the_list_shows_settings_and_health(api: ScriptedApi, run: Run) -> None:
    found = [target("a", max_in_flight=5), target("b", state="draining", health="draining", reason="ordered")]
    api.says(f"GET {TARGETS}", {"version": 7, "pool": "default", "targets": found})
    assert run("targets", "list").stdout.splitlines() == [
        "name  url       weight  max in flight  state     health    reason",
        "a     http://a       1              5  up        up        -",
        "b     http://b       1              -  draining  draining  ordered",
    ]


def test_an_empty_list_says_so(api: ScriptedApi, run: Run) -> None:
    api.says(f"GET {TARGETS}", {"targets": []})
    assert run("targets", "list").stdout == "no targets\n"


def test_a_target_is_added_with_what_was_given_and_nothing_else(api: ScriptedApi, run: Run) -> None:
    api.says(f"POST {TARGETS}", {"version": 8, **target("10.0.0.4:9001")}, 201)
    result = run("targets", "add", "http://10.0.0.4:9001", "--weight", "3")
    assert result.stdout == "added 10.0.0.4:9001 to pool default (configuration 8)\n"
    assert api.asked("POST")[0].body == {"url": "http://10.0.0.4:9001", "weight": 3}


def test_every_setting_of_a_new_target_can_be_given(api: ScriptedApi, run: Run) -> None:
    api.says(f"POST {TARGETS}", {"version": 8, **target("d")}, 201)
    run("targets", "add", "http://h:1", "--name", "d", "--weight", "3", "--max-in-flight", "0", "--pool", "default")
    assert api.asked("POST")[0].body == {"url": "http://h:1", "name": "d", "weight": 3, "max_in_flight": 0}


def test_a_target_that_is_there_already_is_a_conflict(api: ScriptedApi, run: Run) -> None:
    api.refuses(f"POST {TARGETS}", 409, 'pool "default" has a target "a" already')
    result = run("targets", "add", "http://a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'equipoise targets add: pool "default" has a target "a" already\n'


def test_a_removal_tells_what_may_still_finish(api: ScriptedApi, run: Run) -> None:
    api.says(f"DELETE {TARGETS}/a", {"version": 8, "removed": "a", "in_flight": 3})
    assert run("targets", "remove", "a").stdout == (
        "removed a from pool default; 3 requests in flight may finish (configuration 8)\n"
    )


def test_a_forced_removal_says_so_to_the_api(api: ScriptedApi, run: Run) -> None:
    api.says(f"DELETE {TARGETS}/a?force=true", {"version": 8, "removed": "a", "in_flight": 0})
    assert run("targets", "remove", "a", "--force").stdout == "removed a from pool default (configuration 8)\n"


def test_waiting_for_a_removal_ends_when_the_target_is_gone(api: ScriptedApi, run: Run) -> None:
    api.says(f"DELETE {TARGETS}/a", {"version": 8, "removed": "a", "in_flight": 3})
    result = run("targets", "remove", "a", "--wait")
    assert result.stdout == "removed a from pool default (configuration 8)\n"
    assert api.calls[-1].path == f"{TARGETS}/a"


def test_a_drain_is_a_state(api: ScriptedApi, run: Run) -> None:
    api.says(f"PATCH {TARGETS}/a", {"version": 8, **target("a", health="draining", in_flight=1)})
    assert run("targets", "drain", "a").stdout == (
        "a of pool default drains; 1 request in flight may finish (configuration 8)\n"
    )
    assert api.asked("PATCH")[0].body == {"state": "draining"}


def test_waiting_for_a_drain_ends_when_nothing_is_in_flight(api: ScriptedApi, run: Run) -> None:
    api.says(f"PATCH {TARGETS}/a", {"version": 8, **target("a", health="draining", in_flight=1)})
    api.says(f"GET {TARGETS}/a", {"version": 8, **target("a", health="draining")})
    assert run("targets", "drain", "a", "--wait").stdout == "a of pool default drains (configuration 8)\n"


def test_enabling_leaves_a_target_to_its_health(api: ScriptedApi, run: Run) -> None:
    api.says(f"PATCH {TARGETS}/a", {"version": 8, **target("a", health="down")})
    assert run("targets", "enable", "a").stdout == "a of pool default is down (configuration 8)\n"
    assert api.asked("PATCH")[0].body == {"state": "up"}


def test_settings_are_changed_alone(api: ScriptedApi, run: Run) -> None:
    api.says(f"PATCH {TARGETS}/a", {"version": 8, **target("a")})
    assert run("targets", "set", "a", "--max-in-flight", "0").stdout == (
        "a of pool default: max_in_flight 0 (configuration 8)\n"
    )
    assert api.asked("PATCH")[0].body == {"max_in_flight": 0}


def test_setting_nothing_is_wrong_usage(api: ScriptedApi, run: Run) -> None:
    assert run("targets", "set", "a").exit_code == 2
    assert api.calls == []


@pytest.mark.parametrize("words", [["remove", "c"], ["drain", "c"], ["enable", "c"], ["set", "c", "--weight", "2"]])
def test_an_unknown_target_changes_nothing_and_is_told_with_all(api: ScriptedApi, run: Run, words: list[str]) -> None:
    result = run("targets", *words)
    assert result.exit_code == 1
    assert 'there is no target "c" in pool default (there: a, b)' in result.stderr
    assert {call.method for call in api.calls} == {"GET"}


def test_with_several_pools_one_must_be_named(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", status(web=[target("a")], images=[]))
    result = run("targets", "drain", "a")
    assert result.exit_code == 2
    assert result.stderr == "equipoise targets drain: there are several pools; choose one with --pool: web, images\n"


@pytest.mark.parametrize(
    ("words", "method", "path"),
    [
        (["list"], "GET", TARGETS),
        (["add", "http://c"], "POST", TARGETS),
        (["remove", "a"], "DELETE", f"{TARGETS}/a"),
        (["drain", "a"], "PATCH", f"{TARGETS}/a"),
        (["enable", "a"], "PATCH", f"{TARGETS}/a"),
        (["set", "a", "--weight", "2"], "PATCH", f"{TARGETS}/a"),
    ],
)
def test_json_is_the_answer_as_it_is(api: ScriptedApi, run: Run, words: list[str], method: str, path: str) -> None:
    api.says(f"{method} {path}", b'{"version":8,"more":1}')
    assert run("targets", *words, "--json").stdout == '{"version":8,"more":1}\n'
