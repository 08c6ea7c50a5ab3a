"""Values that are written in one way and kept in another.

Owns: for each kind of leaf in the schema, how it is read, how it is written, and what the JSON Schema says of it.
Refuses to know: where in the file it stands.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from equipoise.config.addresses import parse_address, parse_host, parse_url
from equipoise.config.extensions import PREFIX, load_algorithm, load_factory
from equipoise.config.schema import ALGORITHMS, SINKS, StatusRange
from equipoise.config.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")  # RFC 9110 5.6.2
_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:@+~\[\]-]{1,255}")
_PATH: Final = re.compile(r"/[!-~]*")
_SERVICE: Final = re.compile(r"[!-~]{0,256}")
_STATUS: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


class Leaf(NamedTuple):
    """One kind of value."""

    parse: Callable[[Any], Any]
    """From the file; raises ValueError with a message that begins with a verb."""
    show: Callable[[Any], Any]
    """Back to what the file would say."""
    schema: Mapping[str, object]
    says: str
    """What the reference page calls it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "..."?`, or nothing when no known word is near."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{found[0]}"?' if found else ""


def _address(text: str) -> str:
    return str(parse_address(text))


def _url(text: str) -> str:
    return parse_url(text).text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be a name of ASCII letters, digits and . _ - : @ + ~ [ ]")
    return text


def _host(text: str) -> str:
    if ":" in text and not text.startswith("["):
        raise ValueError("must be a host without a port")
    parse_host(text.removeprefix("*."))
    return text.lower()


def _server_name(text: str) -> str:
    # No name stands for the host of each target, and an overlay or the JSON form says so by an empty string.
    return parse_host(text).lower().removesuffix(".") if text else text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError('must begin with "/" and hold visible ASCII only')
    return text


def _route_path(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("must be a path without query and fragment")
    return _path(text)


def _header(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError("must be the name of a header")
    return text.lower()


def _method(text: str) -> str:
    if not _TOKEN.fullmatch(text) or text != text.upper():
        raise ValueError("must be a method in upper case, such as GET")
    return text


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise ValueError("must be the name of a gRPC service in visible ASCII, at most 256 characters")
    return text


def _algorithm(text: str) -> str:
    if text.startswith(PREFIX):
        load_algorithm(text)
    elif text not in ALGORITHMS:
        raise ValueError(f'must be one of {", ".join(ALGORITHMS)} or "python:module:Class"{nearest(text, ALGORITHMS)}')
    return text


def _sink(text: str) -> str:
    if text.startswith(PREFIX):
        load_factory(text)
    elif text not in SINKS:
        raise ValueError(f'must be one of {", ".join(SINKS)} or "python:module:factory"{nearest(text, SINKS)}')
    return text


def _text(parse: Callable[[str], Any]) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004  the caller turns it into a problem, like every other slip
        return parse(value)

    return read


def _duration(value: object) -> float:
    # A bare number would leave the unit to guessing, and the text of the error says so.
    return parse_duration(value if isinstance(value, str) else "")


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return parse_size(value if isinstance(value, str) else "-")


def _status_range(value: object) -> StatusRange:
    match = _STATUS.fullmatch(str(value)) if isinstance(value, int | str) else None
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if first > last:
        raise ValueError('must be a status such as 200 or a range such as "200-399"')
    return first, last


def _show_status_range(statuses: StatusRange) -> int | str:
    first, last = statuses
    return first if first == last else f"{first}-{last}"


def _string(parse: Callable[[str], str], says: str, pattern: str | None = None) -> Leaf:
    return Leaf(_text(parse), str, {"type": "string"} | ({"pattern": pattern} if pattern else {}), says)


LEAVES: Final[Mapping[str, Leaf]] = {
    "duration": Leaf(_duration, format_duration, {"type": "string", "pattern": DURATION_PATTERN}, "duration"),
    "size": Leaf(
        _size,
        format_size,
        {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]},
        "size",
    ),
    "status_range": Leaf(
        _status_range,
        _show_status_range,
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"},
            ]
        },
        "status or range",
    ),
    "address": _string(_address, "address"),
    "url": _string(_url, "URL", "^(http|https|h2c)://"),
    "name": _string(_name, "name"),
    "host": _string(_host, "host"),
    "server_name": _string(_server_name, "host"),
    "path": _string(_path, "path", "^/"),
    "route_path": _string(_route_path, "path", "^/[^?#]*$"),
    "header": _string(_header, "header name"),
    "method": _string(_method, "method"),
    "service": _string(_service, "service"),
    "algorithm": _string(_algorithm, "algorithm", f"^({'|'.join(ALGORITHMS)}|{PREFIX}.+:.+)$"),
    "sink": _string(_sink, "sink", f"^({'|'.join(SINKS)}|{PREFIX}.+:.+)$"),
}
