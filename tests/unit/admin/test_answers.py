import json
from typing import Any

import pytest

from equipoise.admin.answers import expected_version, is_on, json_response, refusals, writes
from tests.unit.admin.parts import Api


@pytest.mark.parametrize(
    ("field", "version"),
    [(None, None), ("*", None), (" * ", None), ("7", 7), ('"7"', 7), (' "7" ', 7), ("0", 0)],
)
def test_if_match_asks_for_a_version_or_for_any(field: str | None, version: int | None) -> None:
    assert expected_version(field) == version


@pytest.mark.parametrize("field", ["", 'W/"7"', '"7', '"seven"', "7, 8", "+7", "-7", "7_0", "\u0667", "9" * 19, "x"])
def test_an_if_match_that_is_no_version_of_ours_matches_none(field: str) -> None:
    assert expected_version(field) == -1


def test_a_version_in_the_answer_is_its_tag() -> None:
    response = json_response({"version": 7}, 201, {"Location": "/v1"})
    assert (response.status_code, response.headers["etag"], response.headers["location"]) == (201, '"7"', "/v1")
    assert "etag" not in json_response({"algorithms": []}).headers


@pytest.mark.parametrize(("switch", "on"), [("true", True), ("1", True), ("", True), ("false", False), ("0", False)])
def test_the_bare_name_of_a_switch_is_on(switch: Any, on: bool) -> None:
    assert is_on(switch) is on


def test_every_route_documents_what_the_gate_refuses() -> None:
    assert set(refusals()) == {401, 403, 429}
    assert {401, 403, 404, 408, 409, 412, 413, 422, 429, 507} == set(writes(404))


def test_every_refusal_has_an_example_that_is_a_problem() -> None:
    for status, refusal in writes(404, 415).items():
        example = refusal["content"]["application/problem+json"]["example"]
        assert example["status"] == status
        assert json.loads(json.dumps(example)) == example


@pytest.mark.parametrize("version", ['"1"', "1", "*"])
def test_a_write_meant_for_the_version_in_force_is_done(api: Api, version: str) -> None:
    answer = api.ask("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"}, if_match=version)
    assert (answer.status, answer.json["version"], answer.get("etag")) == (200, 2, '"2"')


WRITES: list[tuple[str, str, object]] = [
    ("POST", "/v1/pools/default/targets", {"url": "http://127.0.0.1:9004"}),
    ("PATCH", "/v1/pools/default/targets/127.0.0.1:9001", {"weight": 2}),
    ("DELETE", "/v1/pools/default/targets/127.0.0.1:9001", None),
    ("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"}),
    ("POST", "/v1/reload", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("version", ['"2"', "0", 'W/"1"', "x"])
def test_a_write_meant_for_another_version_is_refused_with_the_one_in_force(
    api: Api, method: str, path: str, body: object, version: str
) -> None:
    answer = api.ask(method, path, body, if_match=version)
    assert (answer.status, answer.detail, answer.get("etag")) == (412, "the version is 1", '"1"')
    assert api.board.version == 1
