"""Mutated requests through the whole balancer, nginx and HAProxy: `python -m fuzz.differential --requests N`.

Owns: a recording origin behind each of them, the comparison with strict readers (`h11`, `h2`), the command.
Refuses to know: how the balancer decides.

What must hold of Equipoise: what its origin parsed is what the strict reader found in the client's bytes, or a
beginning of it: none, never one more, never another. Of the other two it is counted. Exit codes: 0 it held, 1 it did
not, 2 wrong usage.
"""

import argparse
import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11
import hpack

from equipoise.wire.frames import DATA, GOAWAY, HEADERS, RST_STREAM
from fuzz import corpus
from fuzz.engine import mutations
from fuzz.http2 import fields_of
from tests.scenarios.support.balancer import Balancer, Setting
from tests.support.frames import frame

OURS: Final = "equipoise"
HTTP1: Final = "http1"
HTTP2: Final = "http2"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4)
LONGEST: Final = 2048
# How long a proxy may say nothing before it counts as waiting for more; and when a finding is looked at again.
QUIET_S: Final = 0.06
SURE_S: Final = 0.5
PATIENCE_S: Final = 20.0
_SETTING: Final = Setting(
    log='sink = "null"',
    pool="[pools.default.retry]\nattempts = 1\n[pools.default.health]\ntype = 'none'\n"
    "[pools.default.health.passive]\nenabled = false\n",
)
_NGINX: Final = """daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1;
events {{ }}
http {{
    access_log off; client_body_temp_path b; proxy_temp_path p;
    fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream origin {{ server 127.0.0.1:{origin} max_fails=0; keepalive 4; }}
    server {{ listen 127.0.0.1:{http1}; {location} }}
    server {{ listen 127.0.0.1:{http2} http2; {location} }}
}}
"""
_LOCATION: Final = 'location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }'
_HAPROXY: Final = """defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s
    retries 0
frontend one
    bind 127.0.0.1:{http1}
    default_backend origin
frontend two
    bind 127.0.0.1:{http2} proto h2
    default_backend origin
backend origin
    server one 127.0.0.1:{origin}
"""


@dataclass(frozen=True)
class Request:
    """A request as a strict reader sees it, its target in origin form."""

    method: bytes
    target: bytes
    body: bytes


class Origin:
    """A target that reads strictly, answers 200 to whatever is whole, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.broken: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens on a port of the operating system's choice."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listens no longer, and ends the connections that are left."""
        if self._server is not None:
            self._server.close()
        while self._writers:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0)

    def take(self) -> tuple[list[Request], list[bytes]]:
        """What came since the last call: requests, and bytes that are none."""
        taken = self.seen, self.broken
        self.seen, self.broken = [], []
        return taken

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        codec, collected = h11.Connection(h11.SERVER, 256 * 1024), _Collected()
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(64 * 1024):
                try:
                    codec.receive_data(data)
                    self._answer(codec, collected, writer)
                except h11.RemoteProtocolError:
                    self.broken.append(data)
                    break
        self._writers.discard(writer)
        writer.close()

    def _answer(self, codec: h11.Connection, collected: "_Collected", writer: asyncio.StreamWriter) -> None:
        for request in collected.read(codec):
            self.seen.append(request)
            # A 2xx would make a tunnel of a CONNECT.
            status = 405 if request.method == b"CONNECT" else 200
            out = codec.send(h11.Response(status_code=status, headers=[("Content-Length", "2")])) or b""
            out += codec.send(h11.Data(data=b"" if request.method == b"HEAD" else b"ok")) or b""
            writer.write(out + (codec.send(h11.EndOfMessage()) or b""))
            if codec.our_state is not h11.DONE or codec.their_state is not h11.DONE:
                writer.close()
                return
            codec.start_next_cycle()


class _Collected:
    """The request that a connection is in the middle of."""

    def __init__(self) -> None:
        self._head: h11.Request | None = None
        self._body = b""

    @property
    def keeps_http_1_0(self) -> bool:
        """Whether a client of HTTP/1.0 asks to go on, as RFC 9112 C.2.2 allows; h11 closes then."""
        if self._head is None or self._head.http_version != b"1.0":
            return False
        values = b",".join(value for name, value in self._head.headers if name == b"connection").lower()
        options = {option.strip(b" \t") for option in values.split(b",")}
        return b"keep-alive" in options and b"close" not in options

    def read(self, codec: h11.Connection) -> Iterator[Request]:
        """The requests that are whole; the caller makes room for the next one in between."""
        while codec.their_state in (h11.IDLE, h11.SEND_BODY):
            event = codec.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                yield Request(self._head.method, _in_origin_form(self._head.target), self._body)
            else:
                return


def _in_origin_form(target: bytes) -> bytes:
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in {b"http", b"https"}:
        return target
    at = min((place for place in (rest.find(b"/"), rest.find(b"?")) if place >= 0), default=len(rest))
    return rest[at:] if rest[at : at + 1] == b"/" else b"/" + rest[at:]


def expected_http1(data: bytes) -> list[Request]:
    """The requests that h11 finds before the first thing that it refuses."""
    # It takes no empty line before a request; RFC 9112 2.2 allows one.
    codec, collected = h11.Connection(h11.SERVER, 256 * 1024), _Collected()
    found: list[Request] = []
    with contextlib.suppress(h11.RemoteProtocolError):
        codec.receive_data(data.removeprefix(b"\r\n"))
        for request in collected.read(codec):
            found.append(request)
            codec.send(h11.Response(status_code=405, headers=[("Content-Length", "0")]))
            codec.send(h11.EndOfMessage())
            rest, _ = codec.trailing_data
            if codec.our_state is not h11.DONE or codec.their_state is not h11.DONE:
                return found + (expected_http1(rest) if collected.keeps_http_1_0 else [])
            if rest.startswith(b"\r\n"):
                return found + expected_http1(rest)
            codec.start_next_cycle()
    return found


def expected_http2(data: bytes) -> list[Request]:
    """The request that h2 finds; it counts as whole when its stream ends."""
    # It shall not join Cookie crumbs: it makes a value with a blank at its end of an empty one, and refuses that.
    config = h2.config.H2Configuration(client_side=False, header_encoding=False, normalize_inbound_headers=False)
    codec: Any = h2.connection.H2Connection(config)
    codec.initiate_connection()
    heads: dict[int, dict[bytes, bytes]] = {}
    bodies: Counter[int] = Counter()
    found = []
    try:
        for event in codec.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                heads[event.stream_id] = {bytes(name): bytes(value) for name, value in event.headers}
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id in heads:
                head = heads[event.stream_id]
                found.append(Request(head[b":method"], head.get(b":path", b""), b"x" * bodies[event.stream_id]))
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += len(event.data)
    except (h2.exceptions.ProtocolError, KeyError):
        pass
    return found


def http1_inputs(seed: int) -> Iterator[bytes]:
    """Bytes of a client of HTTP/1."""
    return mutations(corpus.load("http1_request"), Random(f"http1 {seed}"), LONGEST)


def http2_inputs(seed: int) -> Iterator[bytes]:
    """Bytes of a client of HTTP/2: good frames around hostile fields."""
    rng = Random(f"http2 {seed}")
    for data in mutations(corpus.load("http2_rules"), rng, LONGEST):
        block = hpack.Encoder().encode(fields_of(data[1:]))
        body = b"x" * rng.choice((0, 0, 0, 1, 5))
        out = PREFACE + frame(1, 1, block, 4 if body else 5)
        yield out + frame(0, 1, body, 1) if body else out


class Proxy:
    """One of the three, on two ports, with an origin of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.origin = Origin()
        self.ports = {HTTP1: 0, HTTP2: 0}
        self._gone = contextlib.ExitStack()

    async def start(self, folder: Path) -> Self:
        """Runs, and returns when it accepts."""
        await self.origin.start()
        await asyncio.to_thread(self._start, folder)
        for port in self.ports.values():
            await _accepting(port)
        return self

    def _start(self, folder: Path) -> None:
        folder.mkdir()
        if self.name == OURS:
            text = _SETTING.text([f"http://127.0.0.1:{self.origin.port}"])
            port = self._gone.enter_context(Balancer(folder, text)).port
            self.ports = {HTTP1: port, HTTP2: port}
            return
        self.ports = dict(zip((HTTP1, HTTP2), _free_ports(2), strict=True))
        values = {**self.ports, "origin": self.origin.port, "location": _LOCATION}
        (folder / "conf").write_text((_NGINX if self.name == "nginx" else _HAPROXY).format(**values))
        program = shutil.which(self.name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise FileNotFoundError(self.name)
        words = ["-p", str(folder), "-c", "conf"] if self.name == "nginx" else ["-db", "-q", "-f", "conf"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, *words], cwd=folder, stdout=log, stderr=log)  # noqa: S603
        self._gone.callback(process.wait)
        self._gone.callback(process.terminate)

    async def stop(self) -> None:
        """Ends it."""
        await asyncio.to_thread(self._gone.close)
        await self.origin.stop()

    async def ask(self, protocol: str, data: bytes, answers: int, quiet: float) -> tuple[list[Request], list[bytes]]:
        """Says something; what its origin saw of it, once so many answers came, or nothing more comes."""
        self.origin.take()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[protocol])
        heard = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                while protocol == HTTP2 or not 0 < answers <= heard.count(b"HTTP/1.1 2"):
                    piece = await asyncio.wait_for(reader.read(64 * 1024), quiet)
                    if not piece:
                        break
                    heard += piece
                    if protocol == HTTP2 and _is_over(heard):
                        break
        writer.transport.abort()
        return self.origin.take()


def _is_over(heard: bytes) -> bool:
    """Whether frames say that the one stream, or the connection, has come to its end."""
    at = 0
    while at + 9 <= len(heard):
        kind, flags = heard[at + 3], heard[at + 4]
        if kind in {RST_STREAM, GOAWAY} or (kind in {DATA, HEADERS} and flags & 1):
            return True
        at += 9 + int.from_bytes(heard[at : at + 3])
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _accepting(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


@dataclass
class Tally:
    """What a run saw: for each proxy, inputs that reached its origin, and those that came out as something else."""

    requests: int = 0
    valid: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    more: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [
            f"{name}: {self.passed[name]:,} reached the origin, {self.more[name]:,} as something else" for name in NAMES
        ]
        return f"{self.requests:,} inputs, {self.valid:,} of them valid to the strict reader; " + "; ".join(rows)


NAMES: Final = (OURS, "nginx", "haproxy")


def is_more(seen: list[Request], broken: list[bytes], expected: list[Request]) -> bool:
    """Whether an origin saw something else than a beginning of what the strict reader saw."""
    return bool(broken) or seen != expected[: len(seen)]


async def run(protocol: str, count: int, seed: int, names: Sequence[str] = NAMES) -> Tally:
    """So many inputs of one protocol through all of them."""
    inputs, expect = (http1_inputs, expected_http1) if protocol == HTTP1 else (http2_inputs, expected_http2)
    tally = Tally()
    proxies = [Proxy(name) for name in names]
    with tempfile.TemporaryDirectory(prefix="equipoise-fuzz-") as folder:
        try:
            for proxy in proxies:
                await proxy.start(Path(folder) / proxy.name)
            made = inputs(seed)
            for _ in range(count):
                await _compare(proxies, protocol, next(made), tally, expect)
        finally:
            for proxy in proxies:
                await proxy.stop()
    return tally


async def _compare(proxies: list[Proxy], protocol: str, data: bytes, tally: Tally, expect: Any) -> None:
    expected = expect(data)
    tally.requests += 1
    tally.valid += bool(expected)
    results = await asyncio.gather(*(each.ask(protocol, data, len(expected), QUIET_S) for each in proxies))
    for proxy, (seen, broken) in zip(proxies, results, strict=True):
        tally.passed[proxy.name] += bool(seen)
        more = is_more(seen, broken, expected)
        if more and proxy.name == OURS:
            # Bytes of the input before may have come late: once more, alone, with time.
            await asyncio.sleep(SURE_S)
            again = await proxy.ask(protocol, data, len(expected), SURE_S)
            more = is_more(*again, expected)
            if more:
                tally.findings.append(f"{protocol} {data!r}: the origin saw {again}, the reader {expected}")
        tally.more[proxy.name] += more


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the options say."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.differential", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000, help="inputs for each protocol (1000)")
    parser.add_argument("--protocol", choices=(HTTP1, HTTP2), action="append", help="one of the two alone")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs")
    parser.add_argument("--alone", action="store_true", help="without nginx and HAProxy")
    options = parser.parse_args(arguments)
    findings = []
    for protocol in options.protocol or (HTTP1, HTTP2):
        begin = time.monotonic()
        tally = asyncio.run(run(protocol, options.requests, options.seed, NAMES[:1] if options.alone else NAMES))
        print(f"{protocol} in {time.monotonic() - begin:.0f} s: {tally}", flush=True)
        findings += tally.findings
    for each in findings:
        print(each)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
