import json

import pytest
from fastapi.exceptions import RequestValidationError

from equipoise.admin.models import FieldProblem
from equipoise.admin.problems import ProblemError, of_validation, problem_response, title


def test_a_refusal_is_a_problem_document() -> None:
    response = ProblemError(409, "it is there already", headers={"X-More": "1"}).response()
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-more"] == "1"
    assert json.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "it is there already",
    }


def test_what_is_wrong_where_stands_beside_the_detail() -> None:
    response = problem_response(422, "it is not valid", [FieldProblem(place="weight", message="is missing")])
    assert json.loads(bytes(response.body))["errors"] == [{"place": "weight", "message": "is missing"}]


@pytest.mark.parametrize(
    ("status", "words"), [(404, "Not Found"), (413, "Content Too Large"), (422, "Unprocessable Content")]
)
def test_titles_are_those_of_rfc_9110_whatever_the_python(status: int, words: str) -> None:
    assert title(status) == words


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (("body", "weight"), "weight"),
        (("body",), "body"),
        (("body", "a b", 0), '"a b"[0]'),
        (("query", "force"), "query.force"),
    ],
)
def test_a_place_is_written_as_in_a_configuration(place: tuple[str | int, ...], shown: str) -> None:
    error = RequestValidationError([{"type": "int_type", "loc": place, "msg": "Input should be a valid integer"}])
    assert [problem.place for problem in of_validation(error).errors] == [shown]


def test_the_first_three_problems_are_in_the_detail_and_all_in_the_list() -> None:
    found = [{"type": "missing", "loc": ("body", f"field{number}"), "msg": "Field required"} for number in range(5)]
    problem = of_validation(RequestValidationError(found))
    assert problem.detail == "the request is not valid: field0: is missing; field1: is missing; field2: is missing"
    assert len(problem.errors) == 5
