from typing import Any

import pytest

from equipoise.config.edits import RemoveTarget, SetCache
from equipoise.config.overlay import UnknownNameError
from equipoise.config.problems import ConfigError, Problem
from equipoise.runtime.changes import ChangeRefusedError, NotKeptError
from tests.unit.admin.parts import Api

POOL = "/v1/pools/default"
FIRST = f"{POOL}/targets/127.0.0.1:9001"
NEW = {"url": "http://127.0.0.1:9004", "name": "d", "weight": 3}


def names(api: Api) -> list[str]:
    return [target.name for target in api.board.config.pools["default"].targets]


def test_targets_are_listed(api: Api) -> None:
    answer = api.ask("GET", f"{POOL}/targets", role="read")
    assert (answer.status, answer.get("etag")) == (200, '"1"')
    assert (answer.json["version"], answer.json["pool"]) == (1, "default")
    assert [target["name"] for target in answer.json["targets"]] == ["127.0.0.1:9001", "127.0.0.1:9002"]


def test_a_target_is_read(api: Api) -> None:
    answer = api.ask("GET", FIRST, role="read")
    assert (answer.status, answer.json["version"], answer.json["url"]) == (200, 1, "http://127.0.0.1:9001")


def test_a_target_is_added(api: Api) -> None:
    answer = api.ask("POST", f"{POOL}/targets", NEW)
    assert (answer.status, answer.get("etag"), answer.get("location")) == (201, '"2"', f"{POOL}/targets/d")
    assert {**answer.json, **NEW, "version": 2} == answer.json
    assert names(api)[2:] == ["d"]


@pytest.mark.parametrize(
    ("url", "name", "place"),
    [
        ("http://127.0.0.1:9004", "127.0.0.1:9004", "127.0.0.1%3A9004"),
        ("http://a", "a:80", "a%3A80"),
        ("http://[::1]:9004", "[::1]:9004", "%5B%3A%3A1%5D%3A9004"),
    ],
)
def test_a_target_without_a_name_is_called_by_its_address(api: Api, url: str, name: str, place: str) -> None:
    answer = api.ask("POST", f"{POOL}/targets", {"url": url})
    assert (answer.status, answer.json["name"]) == (201, name)
    assert answer.get("location") == f"{POOL}/targets/{place}"
    assert api.ask("GET", f"{POOL}/targets/{name}").json["name"] == name


def test_a_target_that_exists_is_not_added(api: Api) -> None:
    for body in ({"url": "http://127.0.0.1:9001"}, {**NEW, "name": "127.0.0.1:9002"}):
        answer = api.ask("POST", f"{POOL}/targets", body)
        assert answer.status == 409
        assert "already" in answer.detail
    assert api.board.version == 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        pytest.param({**NEW, "url": "127.0.0.1:9004"}, "url", id="no scheme"),
        pytest.param({**NEW, "url": "ftp://a"}, "url", id="unknown scheme"),
        pytest.param({**NEW, "url": "http://a/path"}, "url", id="a path"),
        pytest.param({**NEW, "url": "http://a:b@c"}, "url", id="a password"),
        pytest.param({**NEW, "url": "http://a:99999"}, "url", id="no such port"),
        pytest.param({**NEW, "name": "a/b"}, "name", id="a slash in the name"),
        pytest.param({**NEW, "name": ".."}, "name", id="two dots as a name"),
        pytest.param({**NEW, "name": "\u00e9"}, "name", id="a name beyond ASCII"),
        pytest.param({**NEW, "weight": 0}, "weight", id="no weight"),
        pytest.param({**NEW, "weight": 10**17}, "weight", id="a large weight"),
        pytest.param({**NEW, "max_in_flight": -1}, "max_in_flight", id="fewer than none"),
        pytest.param({**NEW, "state": "off"}, "state", id="no such state"),
        pytest.param({**NEW, "wieght": 1}, "wieght", id="an unknown field"),
        pytest.param({"name": "d"}, "url", id="no url"),
        pytest.param([], "body", id="a list"),
        pytest.param("text", "body", id="a text"),
        pytest.param(b"{", "body", id="no JSON"),
    ],
)
def test_a_target_that_is_not_valid_is_refused_with_the_place(api: Api, body: object, place: str) -> None:
    answer = api.ask("POST", f"{POOL}/targets", body)
    assert (answer.status, [error["place"] for error in answer.json["errors"]]) == (422, [place])
    assert place in answer.detail
    assert api.board.version == 1


def test_everything_that_is_wrong_is_named(api: Api) -> None:
    answer = api.ask("POST", f"{POOL}/targets", {"weight": 0, "state": "off", "more": 1})
    assert {error["place"] for error in answer.json["errors"]} == {"url", "weight", "state", "more"}


def test_a_password_in_a_url_is_not_repeated(api: Api) -> None:
    assert b"secret" not in api.ask("POST", f"{POOL}/targets", {"url": "http://ann:secret@a"}).body


@pytest.mark.parametrize(
    "change", [{"weight": 5}, {"max_in_flight": 9}, {"state": "draining"}, {"weight": 2, "state": "down"}]
)
def test_a_target_is_changed_in_what_is_given(api: Api, change: dict[str, Any]) -> None:
    before = api.ask("GET", FIRST).json
    answer = api.ask("PATCH", FIRST, change)
    assert (answer.status, answer.get("etag")) == (200, '"2"')
    assert answer.json == {**before, **change, "version": 2}


@pytest.mark.parametrize("body", [{}, {"weight": 1}, {"state": "up"}])
def test_a_change_that_changes_nothing_keeps_the_version(api: Api, body: dict[str, Any]) -> None:
    answer = api.ask("PATCH", FIRST, body)
    assert (answer.status, answer.json["version"]) == (200, 1)


@pytest.mark.parametrize("body", [{"weight": 0}, {"weight": None}, {"state": 1}, {"url": "http://a"}, {"name": "b"}])
def test_a_change_that_is_not_valid_is_refused_with_the_place(api: Api, body: dict[str, Any]) -> None:
    answer = api.ask("PATCH", FIRST, body)
    assert (answer.status, [error["place"] for error in answer.json["errors"]]) == (422, list(body))


def test_a_target_is_removed(api: Api) -> None:
    answer = api.ask("DELETE", FIRST)
    assert (answer.status, answer.get("etag")) == (200, '"2"')
    assert answer.json == {"version": 2, "removed": "127.0.0.1:9001", "in_flight": 0}
    assert names(api) == ["127.0.0.1:9002"]
    assert api.ask("DELETE", FIRST).status == 404


def test_what_is_in_flight_at_a_target_that_leaves_is_told(api: Api) -> None:
    api.board.leaving["127.0.0.1:9001"] = 2
    assert api.ask("DELETE", FIRST).json["in_flight"] == 2


@pytest.mark.parametrize(
    ("query", "force"), [("", False), ("?force=true", True), ("?force", True), ("?force=false", False)]
)
def test_requests_in_flight_are_cut_only_by_force(api: Api, query: str, force: bool) -> None:
    assert api.ask("DELETE", FIRST + query).status == 200
    assert api.board.edits == [(RemoveTarget("default", "127.0.0.1:9001"), force)]


@pytest.mark.parametrize("query", ["?force=yes", "?force=2", "?force=TRUE"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(api: Api, query: str) -> None:
    answer = api.ask("DELETE", FIRST + query)
    assert (answer.status, answer.json["errors"][0]["place"]) == (422, "query.force")


def test_the_algorithm_is_read_and_switched(api: Api) -> None:
    assert api.ask("GET", f"{POOL}/algorithm", role="read").json["algorithm"] == "least_in_flight"
    answer = api.ask("PUT", f"{POOL}/algorithm", {"algorithm": "response_time"})
    assert (answer.status, answer.get("etag")) == (200, '"2"')
    assert answer.json == {"version": 2, "pool": "default", "algorithm": "response_time"}
    assert api.ask("GET", f"{POOL}/algorithm").json == answer.json


@pytest.mark.parametrize("name", ["best", "Random", "python:", "python:nowhere:Class", "python:os:getcwd"])
def test_an_algorithm_that_is_not_known_is_refused(api: Api, name: str) -> None:
    answer = api.ask("PUT", f"{POOL}/algorithm", {"algorithm": name})
    assert (answer.status, answer.json["errors"][0]["place"]) == (422, "algorithm")


CALLS: list[tuple[str, str, object]] = [
    ("GET", "/v1/pools/{}/targets", None),
    ("POST", "/v1/pools/{}/targets", NEW),
    ("GET", "/v1/pools/{}/targets/a", None),
    ("PATCH", "/v1/pools/{}/targets/a", {"weight": 2}),
    ("DELETE", "/v1/pools/{}/targets/a", None),
    ("GET", "/v1/pools/{}/algorithm", None),
    ("PUT", "/v1/pools/{}/algorithm", {"algorithm": "random"}),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize("pool", ["nothing", "Default", "%00", "%2e%2e", "\u00e9"])
def test_an_unknown_pool_is_not_found(api: Api, method: str, path: str, body: object, pool: str) -> None:
    answer = api.ask(method, path.replace("{}", pool), body)
    assert (answer.status, answer.detail) == (404, f'there is no pool "{pool}"')


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {"weight": 2}), ("DELETE", None)])
def test_an_unknown_target_is_not_found(api: Api, method: str, body: object) -> None:
    answer = api.ask(method, f"{POOL}/targets/nothing", body)
    assert (answer.status, answer.detail) == (404, 'there is no target "nothing"')


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ChangeRefusedError("a worker could not take it up"), 409),
        (NotKeptError("the state cannot be kept in /state: No space left on device"), 507),
        (UnknownNameError("target", "a"), 404),
        (ConfigError([Problem("pools", "at most 4096 together")]), 422),
        (RuntimeError("a defect"), 500),
    ],
)
def test_what_the_supervisor_refuses_is_passed_on(api: Api, failure: Exception, status: int) -> None:
    api.board.failure = failure
    assert api.ask("PATCH", FIRST, {"weight": 2}).status == status


# The cache

CACHE = f"{POOL}/cache"


def test_a_cache_that_is_off_is_read(api: Api) -> None:
    answer = api.ask("GET", CACHE, role="read")
    assert (answer.status, answer.get("etag")) == (200, '"1"')
    assert (answer.json["enabled"], answer.json["mode"], answer.json["ttl"]) == (False, "identical", 60)
    assert (answer.json["entries"], answer.json["hit_ratio"], answer.json["pool"]) == (0, None, "default")
    assert answer.json["settings"]["max_bytes"] == "64MiB"


def test_a_cache_is_changed_in_what_is_given(api: Api) -> None:
    body = {"enabled": True, "ttl": "30s", "max_bytes": 2**26, "key_headers": ["accept"], "methods": ["GET"]}
    answer = api.ask("PUT", CACHE, body)
    assert (answer.status, answer.get("etag"), answer.json["version"]) == (200, '"2"', 2)
    assert api.board.edits == [(SetCache("default", body), False)]
    assert (answer.json["enabled"], answer.json["ttl"]) == (True, 30)
    assert {**answer.json["settings"], **body, "max_bytes": "64MiB"} == answer.json["settings"]


@pytest.mark.parametrize("body", [{}, {"enabled": False}, {"ttl": "60s"}, {"key_headers": "all"}])
def test_a_cache_as_it_is_keeps_the_version(api: Api, body: dict[str, Any]) -> None:
    assert api.ask("PUT", CACHE, body).json["version"] == 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"mode": "both"}, "mode"),
        ({"ttl": 30}, "ttl"),
        ({"ttl": "30"}, "ttl"),
        ({"ttl": "0s"}, "ttl"),
        ({"max_bytes": "1KiB"}, "max_bytes"),
        ({"max_bytes": "1MiB"}, "max_body"),
        ({"methods": ["GET", "B D"]}, "methods[1]"),
        ({"store_anyway": ["everything"]}, "store_anyway[0]"),
        ({"tll": "30s"}, "tll"),
        ([], "body"),
    ],
)
def test_a_cache_that_is_not_valid_is_refused_with_the_place(api: Api, body: object, place: str) -> None:
    answer = api.ask("PUT", CACHE, body)
    assert (answer.status, [error["place"] for error in answer.json["errors"]]) == (422, [place])
    assert api.board.version == 1


@pytest.mark.parametrize(
    ("query", "purge"),
    [
        ("", ("", False)),
        ("?path=/a%3Fb%3D1", ("/a?b=1", False)),
        ("?prefix=/img/", ("/img/", True)),
    ],
)
def test_a_cache_is_purged_whole_by_path_or_by_prefix(api: Api, query: str, purge: tuple[str, bool]) -> None:
    answer = api.ask("DELETE", CACHE + query)
    assert (answer.status, answer.json) == (200, {"version": 1, "pool": "default", "purged": 0})
    assert api.board.purges == [("default", *purge)]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("?path=", "query.path"),
        ("?path=a", "query.path"),
        ("?prefix=", "query.prefix"),
        ("?path=/a&prefix=/b", "query.prefix"),
    ],
)
def test_a_purge_of_something_unclear_is_refused_and_drops_nothing(api: Api, query: str, place: str) -> None:
    answer = api.ask("DELETE", CACHE + query)
    assert (answer.status, [error["place"] for error in answer.json["errors"]]) == (422, [place])
    assert api.board.purges == []


def test_a_cache_is_changed_and_purged_only_in_the_version_that_was_meant(api: Api) -> None:
    for method, body in (("PUT", {"enabled": True}), ("DELETE", None)):
        assert api.ask(method, CACHE, body, if_match='"7"').status == 412
    assert (api.board.version, api.board.purges) == (1, [])


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", {"enabled": True}), ("DELETE", None)])
def test_the_cache_of_a_pool_that_does_not_exist_is_not_found(
    api: Api, method: str, body: dict[str, Any] | None
) -> None:
    answer = api.ask(method, "/v1/pools/nope/cache", body)
    assert (answer.status, answer.detail) == (404, 'there is no pool "nope"')


@pytest.mark.parametrize(("method", "body"), [("PUT", {"enabled": True}), ("DELETE", None)])
def test_who_may_read_may_not_change_a_cache(api: Api, method: str, body: dict[str, Any] | None) -> None:
    assert api.ask(method, CACHE, body, role="read").status == 403
    assert (api.board.version, api.board.purges) == (1, [])
