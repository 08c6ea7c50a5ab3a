"""Bytes over TLS come through one buffer, and reach the protocol behind it as if there were none."""

from typing import Any

import pytest

from equipoise.proxy.tls_reader import SIZE, TlsReader, hand_over


class Kept:
    """A protocol that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connection_made(self, transport: object) -> None:
        self.heard.append(("made", transport))

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append(("lost", error))

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


class FakeTransport:
    """With TLS or without."""

    def __init__(self, secure: object) -> None:
        self.secure = secure
        self.protocol: Any = None

    def get_extra_info(self, name: str) -> object:
        assert name == "ssl_object"
        return self.secure

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol


def says(reader: TlsReader, data: bytes) -> None:
    reader.get_buffer(-1)[: len(data)] = data
    reader.buffer_updated(len(data))


def test_bytes_of_two_connections_stay_apart() -> None:
    one, two = Kept(), Kept()
    first, second = TlsReader(one), TlsReader(two)
    says(first, b"abc")
    says(second, b"x")
    says(first, b"d" * SIZE)
    assert (one.heard, two.heard) == ([b"abc", b"d" * SIZE], [b"x"])


def test_all_else_passes_through() -> None:
    kept = Kept()
    reader = TlsReader(kept)
    reader.connection_made("transport")
    reader.pause_writing()
    reader.resume_writing()
    assert reader.eof_received() is True
    reader.connection_lost(None)
    assert kept.heard == [("made", "transport"), "pause", "resume", "eof", ("lost", None)]


@pytest.mark.parametrize("secure", [None, object()], ids=["plain", "tls"])
def test_the_buffer_is_for_tls_alone(secure: object) -> None:
    transport = FakeTransport(secure)
    kept = Kept()
    hand_over(transport, kept)
    assert isinstance(transport.protocol, TlsReader) == (secure is not None)
    if secure is None:
        assert transport.protocol is kept
