from msgspec.structs import replace

from equipoise.config.decode import plain
from equipoise.config.problems import ConfigError, Problem
from equipoise.policy.balance import ALGORITHMS
from equipoise.runtime.changes import ChangeRefusedError
from tests.unit.admin.parts import Api

ALGORITHM = "/v1/pools/default/algorithm"


def test_the_configuration_is_read_in_the_terms_of_the_file(api: Api) -> None:
    answer = api.ask("GET", "/v1/config", role="read")
    assert (answer.status, answer.get("etag")) == (200, '"1"')
    assert answer.json == {"version": 1, "config": plain(api.config)}


def test_the_file_is_read_without_later_changes(api: Api) -> None:
    api.ask("PUT", ALGORITHM, {"algorithm": "random"})
    for query, algorithm in (("", "random"), ("?file", "least_in_flight"), ("?file=true", "least_in_flight")):
        found = api.ask("GET", f"/v1/config{query}").json
        assert (found["version"], found["config"]["pools"]["default"]["algorithm"]) == (2, algorithm)


def test_a_switch_that_is_neither_on_nor_off_is_refused(api: Api) -> None:
    answer = api.ask("GET", "/v1/config?file=maybe")
    assert (answer.status, answer.json["errors"][0]["place"]) == (422, "query.file")


def test_differences_are_read_with_both_values(api: Api) -> None:
    assert api.ask("GET", "/v1/config/differences", role="read").json == {"version": 1, "differences": []}
    api.ask("PUT", ALGORITHM, {"algorithm": "random"})
    difference = {"place": "pools.default.algorithm", "file": "least_in_flight", "running": "random"}
    assert api.ask("GET", "/v1/config/differences").json == {"version": 2, "differences": [difference]}


def test_a_reload_says_whether_it_changed_anything(api: Api) -> None:
    answer = api.ask("POST", "/v1/reload")
    assert (answer.status, answer.json, answer.get("etag")) == (200, {"version": 1, "changed": False}, '"1"')
    pool = api.config.pools["default"]
    api.board.next_file = replace(api.config, pools={"default": replace(pool, algorithm="random")})
    assert api.ask("POST", "/v1/reload").json == {"version": 2, "changed": True}


def test_a_bad_file_is_refused_with_all_its_problems(api: Api) -> None:
    api.board.failure = ConfigError([Problem("workers", "must be more", 3), Problem("", "not valid TOML")])
    answer = api.ask("POST", "/v1/reload")
    assert answer.status == 422
    assert answer.json["errors"] == [
        {"place": "workers", "message": "must be more (line 3)"},
        {"place": "file", "message": "not valid TOML"},
    ]
    assert answer.detail == "workers: must be more (line 3); file: not valid TOML"


def test_a_file_that_cannot_be_taken_up_while_running_is_a_conflict(api: Api) -> None:
    api.board.failure = ChangeRefusedError("listen cannot change while running")
    answer = api.ask("POST", "/v1/reload")
    assert (answer.status, answer.detail) == (409, "listen cannot change while running")


def test_algorithms_are_listed_with_what_they_promise(api: Api) -> None:
    listed = api.ask("GET", "/v1/algorithms", role="read").json["algorithms"]
    assert [each["name"] for each in listed] == list(ALGORITHMS)
    assert all(each["promise"] for each in listed)
