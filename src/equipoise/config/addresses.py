"""Where things are: addresses to listen on, and the URLs of targets.

Owns: the strict reading of `host:port` and of a target's URL.
Refuses to know: what listens there, and what a name resolves to.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443, "h2c": 80}
_MAX_PORT: Final = 65535
_MAX_NAME: Final = 253

# Underscores are no host names by RFC 952, yet Docker Compose services have them.
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


class Address(NamedTuple):
    """A host (IPv6 without its brackets) and a port; port 0 leaves the choice to the system."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in the file."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TargetUrl(NamedTuple):
    """What the URL of a target says."""

    scheme: str
    address: Address
    text: str
    """As written, without a final slash."""


def parse_address(text: str) -> Address:
    """Read `host:port`; raises ValueError that says what is wrong."""
    host, port = _split(text)
    if port is None:
        raise ValueError('must be "host:port", such as "0.0.0.0:8080" or "[::]:8080"')
    if not host:
        raise ValueError(f'names no host; write "0.0.0.0:{port}", or "[::]:{port}" for IPv6')
    return Address(parse_host(host), port)


def parse_url(text: str) -> TargetUrl:
    """Read `scheme://host[:port]`; raises ValueError that says what is wrong, and never repeats a password."""
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise ValueError('must be a URL such as "http://10.0.0.1:9001"')
    scheme, rest = match[1], match[2]
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f'has the unknown scheme "{scheme}"; a target is reached by http://, https:// or h2c://')
    rest = rest.removesuffix("/")
    for mark, name in (("?", "a query"), ("#", "a fragment"), ("/", "a path"), ("@", "a user name")):
        if mark in rest:
            raise ValueError(f"must not carry {name}; only scheme, host and port belong to a target")
    host, port = _split(rest)
    if not host:
        raise ValueError("names no host")
    if port == 0:
        raise ValueError(f"must have a port from 1 to {_MAX_PORT}")
    address = Address(parse_host(host), DEFAULT_PORTS[scheme] if port is None else port)
    return TargetUrl(scheme, address, f"{scheme}://{rest}")


def parse_host(text: str) -> str:
    """An IPv4 address, an IPv6 address in brackets, or a name; without the brackets."""
    if text.startswith("["):
        return _literal(text[1:-1], ipaddress.IPv6Address, "IPv6")
    labels = text.removesuffix(".").split(".")
    # A name never ends in a number (RFC 1123 2.1), so "10.0.0.300" is a slip and not a name.
    if labels[-1].isascii() and labels[-1].isdigit():
        return _literal(text, ipaddress.IPv4Address, "IPv4")
    if len(text) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has no valid host name (ASCII letters, digits, dots and hyphens)")
    return text


def _literal(text: str, family: type[ipaddress.IPv4Address | ipaddress.IPv6Address], name: str) -> str:
    try:
        # A zone, as in fe80::1%eth0, means nothing outside of one machine.
        return str(family("" if "%" in text else text))
    except ValueError:
        raise ValueError(f"has no valid {name} address") from None


def _split(text: str) -> tuple[str, int | None]:
    """Host as written and port, None when there is none."""
    host, colon, digits = text.rpartition(":")
    if text.endswith("]") or not colon:
        return text, None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError('has an IPv6 address without brackets; write "[::1]:8080"')
    if not _PORT.fullmatch(digits) or int(digits) > _MAX_PORT:
        raise ValueError(f"must have a port of digits, at most {_MAX_PORT}, after the colon")
    return host, int(digits)
