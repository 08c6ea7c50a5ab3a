# ruff: noqa: INP001  a module of its own beside its configuration, as a user's is
"""An access log that sends each line as a datagram to a collector; the key `path` is its address, `"IP:port"`."""

import socket

import msgspec

from equipoise.model import AccessLogSpec
from equipoise.proxy.access_log import AccessLog, Record


class UdpLog(AccessLog):
    """Never waits: what the kernel does not take at once is dropped, and counted."""

    def __init__(self, host: str, port: int) -> None:
        # An IP address: looking a name up would hold up the requests.
        self.address = (host, port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sent = 0
        self.dropped = 0

    def write(self, record: Record) -> None:
        """Called for each request, in the event loop of a worker."""
        try:
            self.sock.sendto(msgspec.json.encode(record), self.address)
        except OSError:
            self.dropped += 1
        else:
            self.sent += 1

    def close(self) -> None:
        """Called when the worker ends, and when a reload puts another log in this one's place."""
        self.sock.close()

    def counts(self) -> tuple[int, int]:
        """Lines written and lines dropped since the start."""
        return self.sent, self.dropped


def udp(spec: AccessLogSpec) -> AccessLog:
    """The factory that the configuration names; `spec` is the whole `[access_log]`."""
    host, _, port = spec.path.rpartition(":")
    return UdpLog(host, int(port))
