"""Bodies of requests: JSON, read strictly.

Owns: which media types are read, and what is no JSON although some readers take it.
Refuses to know: what a body says (`models`), and how large it may be (`gate`).

Every body that cannot be used is answered 422, whether it is no JSON or the wrong one.
"""

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from equipoise.admin.models import FieldProblem
from equipoise.admin.problems import ProblemError

# No number of ours is as long, and Python is slow at reading those that are (CVE-2020-10735).
_LONGEST_NUMBER: Final = 18
_LARGEST_WHOLE: Final = 10**_LONGEST_NUMBER
# What clients such as curl and urllib say of any body whose sender did not say what it is. A browser's form sends the
# same, but no form has the caller's token.
_NO_STATEMENT: Final = frozenset({"", "application/x-www-form-urlencoded", "text/plain"})


class StrictRoute(APIRoute):
    """A route whose body, if it takes one, is read by `parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI: the place where a route may have its own kind of request."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def strictly(request: Request) -> Response:
            if not takes_body:
                return await handle(request)
            check_media_type(request)
            # What was checked is read as JSON, whatever it is called.
            headers = [field for field in request.scope["headers"] if field[0] != b"content-type"]
            scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
            return await handle(_StrictRequest(scope, request.receive))

        return strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse(await self.body())


def check_media_type(request: Request) -> None:
    """Make sure that the body does not say that it is something else than JSON.

    Raises:
        ProblemError: 415.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    accepted = media_type in _NO_STATEMENT or re.fullmatch(r"application/([^/]+\+)?json", media_type) is not None
    if not accepted or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(
            415, "send JSON as it is, with Content-Type: application/json", headers={"Accept": "application/json"}
        )


def parse(body: bytes) -> Any:
    """What a JSON text says.

    Raises:
        ProblemError: 422; it is not JSON by RFC 8259 in UTF-8, names a field twice, or is too deep or too long in one
            place for any use of ours.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_once, parse_constant=_refuse, parse_int=_integer, parse_float=_number
        )
        _encode(value)
    except RecursionError:
        raise _bad("nested too deeply") from None
    except UnicodeError:
        raise _bad("is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise _bad(f"is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise _bad(str(error)) from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table whose fields have one value each, and whose texts have no half of a character (RFC 8259 8.2)."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("names a field twice")
    for key, value in pairs:
        key.encode()
        _encode(value)
    return table


def _encode(value: object) -> None:
    """Fails where a text, or one in a list, has half of a character; tables have been looked at when they were made."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _encode(item)


def _refuse(word: str) -> Any:
    raise ValueError(f"holds {word}, which JSON does not have")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _LONGEST_NUMBER:
        raise ValueError("holds a number with too many digits")
    return int(digits)


def _number(text: str) -> int | float:
    """JSON has one kind of number: 2.0 and 2 are the same."""
    number = float(text)
    if math.isinf(number):
        raise ValueError("holds a number that is too large")
    return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number


def _bad(message: str) -> ProblemError:
    return ProblemError(422, f"the body {message}", errors=[FieldProblem(place="body", message=message)])
