"""HTTP/2 said frame by frame, with the `h2` library: a client and a target that do what no good peer does.

Owns: one blocking client connection; targets that follow a script, on the stage's loop.
Refuses to know: gRPC, the balancer.
"""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.events

from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.support.stage import Stage, Target, hangs

Pairs = list[tuple[str, str]]


class RawClient:
    """A connection to the balancer; what came is in `events`."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.h2: Any = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.events: list[Any] = []
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def flush(self) -> None:
        """Sends what was said."""
        self.sock.sendall(self.h2.data_to_send())

    def request(self, path: str, fields: Pairs, body: bytes = b"", *, end: bool = True) -> int:
        """Begins a request and returns its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", path), *fields]
        self.h2.send_headers(stream, head)
        if body or end:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def wait_for(self, kind: type, stream: int) -> Any:
        """The first event of a kind on a stream."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", stream) == stream:
                    return event
            data = self.sock.recv(65_536)
            if not data:
                raise AssertionError(f"the balancer closed; seen: {self.events}")
            self.events += self.h2.receive_data(data)
            self.flush()

    def fields(self, stream: int) -> dict[str, str]:
        """Head and trailers of an answer together, once it has ended."""
        self.wait_for(h2.events.StreamEnded, stream)
        found: dict[str, str] = {}
        for event in self.events:
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                assert event.headers is not None
                if event.stream_id == stream:
                    found |= {_text(name): _text(value) for name, value in event.headers}
        return found


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


class RawConnection:
    """A connection of the balancer's to a scripted target."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2: Any = h2.connection.H2Connection(config)
        self.writer = writer

    def flush(self) -> None:
        """Sends what was said."""
        self.writer.write(self.h2.data_to_send())


# Told of each event of a connection.
RawScript = Callable[[RawConnection, Any], None]


class RawTarget(Target):
    """A target on a port of its own; the heads it was sent are in `heads`, the codes of resets in `resets`."""

    def __init__(self, stage: Stage, script: RawScript) -> None:
        super().__init__(stage, hangs, "127.0.0.1")
        self.raw_script = script
        self.heads: list[dict[str, str]] = []
        self.resets: list[int] = []
        stage.targets.append(self)
        self.start()

    @property
    def url(self) -> str:
        """For the configuration."""
        return f"h2c://{self.name}"

    @property
    def name(self) -> str:
        """What the balancer calls it."""
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        connection = RawConnection(writer)
        try:
            connection.h2.initiate_connection()
            connection.flush()
            while data := await reader.read(65_536):
                for event in connection.h2.receive_data(data):
                    self._note(event)
                    self.raw_script(connection, event)
                connection.flush()
        except ConnectionError:
            pass
        except Exception as error:  # noqa: BLE001  (it must reach the test, which runs in another thread)
            self.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self._open.discard(writer)
            writer.close()

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.headers is not None
            self.heads.append({_text(name): _text(value) for name, value in event.headers})
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append(int(event.error_code or 0))
