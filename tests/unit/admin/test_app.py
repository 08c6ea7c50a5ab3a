import re
from typing import Any

import pytest

from equipoise.admin.app import make_api
from tests.unit.admin.parts import Api

DOCUMENT: dict[str, Any] = make_api().openapi()


OPERATIONS = [
    pytest.param(path, operation, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


# The document


def test_the_document_is_openapi_3_1_with_a_description() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert len(DOCUMENT["info"]["description"]) > 500


def test_every_path_of_the_contract_is_there() -> None:
    found = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    pool = "/v1/pools/{pool}"
    assert found == {
        "GET /healthz", "GET /readyz", "GET /metrics",
        "GET /v1/status", "GET /v1/config", "GET /v1/config/differences", "GET /v1/algorithms",
        "GET /v1/events", "GET /v1/events/recent", "POST /v1/reload",
        "POST /v1/upgrade", "POST /v1/workers/replace",
        f"GET {pool}/targets", f"POST {pool}/targets",
        f"GET {pool}/targets/{{target}}", f"PATCH {pool}/targets/{{target}}", f"DELETE {pool}/targets/{{target}}",
        f"GET {pool}/algorithm", f"PUT {pool}/algorithm",
        f"GET {pool}/cache", f"PUT {pool}/cache", f"DELETE {pool}/cache",
    }  # fmt: skip


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_says_what_it_does_under_one_known_tag(path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    assert len(operation["tags"]) == 1, path


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_under_v1_needs_a_token_and_documents_its_refusals(
    path: str, operation: dict[str, Any]
) -> None:
    guarded = path.startswith("/v1/")
    assert (operation.get("security") == [{"HTTPBearer": []}]) is guarded
    if guarded:
        assert {"401", "403", "429"} <= set(operation["responses"])


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_refusal_is_a_problem_document(path: str, operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        if status >= "400" and status != "503":
            assert list(answer["content"]) == ["application/problem+json"], path


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_body_and_every_answer_has_an_example(path: str, operation: dict[str, Any]) -> None:
    contents = [answer["content"] for answer in operation["responses"].values()]
    if "requestBody" in operation:
        contents.append(operation["requestBody"]["content"])
    for content in contents:
        for media in content.values():
            assert "example" in media or resolved(media["schema"]).get("examples"), path


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return found


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])


def test_the_document_is_the_same_each_time(api: Api) -> None:
    assert api.ask("GET", "/openapi.json", role="").json == DOCUMENT


# Pages


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_loads_nothing_from_elsewhere(api: Api, path: str) -> None:
    page = api.ask("GET", path, role="")
    assert page.status == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert sources
    for source in sources:
        assert source.startswith("/static-offline-docs/")
        assert api.ask("GET", source, role="").status == 200


def test_the_dashboard_is_served_at_the_root(api: Api) -> None:
    page = api.ask("GET", "/", role="")
    assert page.status in {200, 501}
    assert str(page.get("content-type")).startswith("text/html")


# Paths and methods


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nothing", "/v1/status/", "/v1//status", "/v2/status", "/V1/status", "/v1/pools", "/nothing"],
)
def test_a_path_that_does_not_exist_is_not_found(api: Api, path: str) -> None:
    answer = api.ask("GET", path)
    assert (answer.status, answer.detail) == (404, "there is nothing at this path")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/status", "GET, HEAD, OPTIONS"),
        ("/v1/reload", "POST, OPTIONS"),
        ("/v1/pools/default/targets", "GET, POST, HEAD, OPTIONS"),
        ("/v1/pools/nothing/targets/a", "GET, PATCH, DELETE, HEAD, OPTIONS"),
        ("/v1/pools/default/algorithm", "GET, PUT, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_a_path_does_not_know_is_refused_with_those_that_it_does(api: Api, path: str, allow: str) -> None:
    for method in ("TRACE", "BREW", "PUT" if "PUT" not in allow else "POST"):
        answer = api.ask(method, path)
        assert (answer.status, answer.get("allow")) == (405, allow)
        assert answer.detail == f"this path knows {allow}"
    options = api.ask("OPTIONS", path)
    assert (options.status, options.get("allow"), options.body) == (204, allow, b"")


def test_options_of_a_path_that_does_not_exist_is_not_found(api: Api) -> None:
    assert api.ask("OPTIONS", "/v1/nothing").status == 404
