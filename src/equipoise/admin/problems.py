"""Refusals, as problem documents (RFC 9457).

Owns: what each status says, the exception that carries one, and how an exception of the framework becomes one.
Refuses to know: when a call is refused.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from equipoise.admin.models import FieldProblem
from equipoise.config.problems import dotted

MEDIA_TYPE: Final = "application/problem+json"
# RFC 9110 has new words for these; which of them Python knows depends on its version.
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
# What a text of the validator means in the words of the configuration.
_WORDS: Final = {"extra_forbidden": "unknown field", "missing": "is missing"}


class ProblemError(HTTPException):
    """A call that is refused. Raised anywhere below the gate, it becomes the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A refusal.

        Args:
            status: of HTTP.
            detail: one sentence for the caller.
            errors: what is wrong with which part of the request.
            headers: more of the answer's fields.
        """
        super().__init__(status, detail, dict(headers or {}))
        self.errors = tuple(errors)

    def response(self) -> Response:
        """The answer."""
        return problem_response(self.status_code, self.detail, self.errors, self.headers)


def title(status: int) -> str:
    """A status in words."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def problem_response(
    status: int, detail: str, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document. The type is `about:blank`: the status says all that a program needs (RFC 9457 4.2.1)."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = [error.model_dump() for error in errors]
    return Response(orjson.dumps(document), status, headers, MEDIA_TYPE)


def of_validation(error: RequestValidationError) -> ProblemError:
    """What the framework found wrong with a request, in our words."""
    problems = [FieldProblem(place=_place(found["loc"]), message=_message(found)) for found in error.errors()]
    listed = "; ".join(f"{problem.place}: {problem.message}" for problem in problems[:3])
    return ProblemError(422, f"the request is not valid: {listed}", errors=problems)


def _place(parts: Sequence[str | int]) -> str:
    """`weight` in the body; `query.force` elsewhere; `body` for the body as a whole."""
    inside = tuple(parts[1:]) if parts[0] == "body" else tuple(parts)
    return dotted(inside) or "body"


def _message(found: Mapping[str, Any]) -> str:
    text = str(found["msg"])
    return _WORDS.get(found["type"], text[:1].lower() + text[1:])
