"""What is known of a client from its connection, and what is said of it: to targets, and in the access log.

Owns: the fields that tell a target where a request came from, in both forms.
Refuses to know: requests but for these fields, and what else happens on the connection.

Most requests of a connection ask for the same host, so the fields are made once for it.
"""

from typing import Any

from mypy_extensions import i64

from equipoise.state.clients import NOBODY
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http1 import RequestHead
from equipoise.wire.message import Request


class Client:
    """The other end of a connection that was accepted; shared by all requests on it."""

    def __init__(self, transport: Any) -> None:
        """Looks at a connection.

        Args:
            transport: its transport; whether it is TLS decides the scheme.
        """
        peer = transport.get_extra_info("peername")
        self.name: str = peer[0] if peer else ""
        self.address: bytes = self.name.encode()
        self.scheme: bytes = b"http" if transport.get_extra_info("ssl_object") is None else b"https"
        # What a line of the access log says between the request's id and its method.
        self.log_piece: bytes = b'","client":"%b","method":"' % self.address
        # Where its connections are counted; see `state.clients`.
        self.seat: i64 = NOBODY
        self._transport = transport
        # The host that the rest was made for; none yet.
        self._host: bytes | None = None
        self._lines: bytes = b""
        self._fields: list[Header] | None = None

    def lines(self, head: Request) -> bytes:
        """The field lines that tell a target about this client, up to the name of the request id's field."""
        host = head.host
        version = version_of(head)
        plain = head.forwarded_for is None and head.via is None and version != 0
        if plain and self._lines and host == self._host:
            return self._lines
        sender, via = self._path(head, version)
        parts = [b"X-Forwarded-For: ", sender, b"\r\nX-Forwarded-Proto: ", self.scheme, b"\r\nVia: ", via]
        if host is None:
            parts.insert(0, b"Host: " + self.authority(head) + b"\r\n")
        else:
            parts.append(b"\r\nX-Forwarded-Host: " + host)
        parts.append(b"\r\nX-Request-Id: ")
        lines = b"".join(parts)
        if plain:
            self._remember(host)
            self._lines = lines
        return lines

    def fields(self, head: Request) -> list[Header]:
        """The same as fields, without the request id."""
        host = head.host
        version = version_of(head)
        plain = head.forwarded_for is None and head.via is None and version != 0
        if plain and self._fields is not None and host == self._host:
            return self._fields
        sender, via = self._path(head, version)
        fields = [header(b"x-forwarded-for", sender), header(b"x-forwarded-proto", self.scheme), header(b"via", via)]
        fields.append(header(b"x-forwarded-host", self.authority(head)))
        if plain:
            self._remember(host)
            self._fields = fields
        return fields

    def authority(self, head: Request) -> bytes:
        """What a request is for: its host, or, of HTTP/1.0 without one, the address that the client connected to."""
        return self._local_authority() if head.host is None else head.host

    def _path(self, head: Request, version: i64) -> tuple[bytes, bytes]:
        """X-Forwarded-For and Via, with what came in them; the version is the one received (RFC 9110 7.6.3)."""
        sender = self.address if head.forwarded_for is None else head.forwarded_for + b", " + self.address
        via = b"2 equipoise" if version == 2 else b"1.%d equipoise" % int(version)
        if head.via is not None:
            via = head.via + b", " + via
        return sender, via

    def _remember(self, host: bytes | None) -> None:
        if host != self._host:
            self._host = host
            self._lines = b""
            self._fields = None

    def _local_authority(self) -> bytes:
        address = self._transport.get_extra_info("sockname")
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}".encode()


def version_of(head: Request) -> i64:
    """2, or the minor version of HTTP/1."""
    return head.minor if isinstance(head, RequestHead) else 2
