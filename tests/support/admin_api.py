"""A scripted admin API: it answers what a test tells it to, and keeps what it was asked.

Owns: the HTTP server in a thread, and a status to begin with.
Refuses to know: the balancer, and which of its answers make sense.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


def target(name: str, **fields: object) -> dict[str, object]:
    """A target as the API shows it."""
    return {
        "name": name,
        "url": f"http://{name}",
        "weight": 1,
        "max_in_flight": 0,
        "state": "up",
        "health": "up",
        "reason": None,
        "since": "2026-07-30T12:00:00.000+00:00",
        "in_flight": 0,
        "requests": 0,
        "failures": 0,
        "mean_response_ms": 0.0,
        **fields,
    }


def status(**pools: list[dict[str, object]]) -> dict[str, Any]:
    """A status of five minutes after the targets became what they are."""
    return {
        "version": 7,
        "time": "2026-07-30T12:05:00.000+00:00",
        "uptime_s": 12.5,
        "compiled": True,
        "workers": [{"row": 0, "pid": 4242, "connections": 10, "requests": 100}],
        "pools": {
            name: {"algorithm": "least_in_flight", "spread": 1, "targets": targets} for name, targets in pools.items()
        },
    }


@dataclass(frozen=True)
class Asked:
    """One call."""

    method: str
    path: str
    fields: Mapping[str, str]
    body: object
    connection: int


@dataclass
class ScriptedApi:
    """Answers by method and path; 404 to everything else."""

    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    calls: list[Asked] = field(default_factory=list)
    # Whether it closes each connection after its answer without saying so.
    hangs_up: bool = False

    def __post_init__(self) -> None:
        """Listens."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """For --admin."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def says(self, call: str, answer: object, code: int = 200) -> None:
        """From now on `call`, such as `GET /v1/status`, is answered so; bytes go out as they are."""
        self.answers[call] = (code, answer)

    def refuses(self, call: str, code: int, detail: str, *errors: tuple[str, str]) -> None:
        """From now on `call` is answered with a problem document."""
        problem: dict[str, object] = {"type": "about:blank", "title": "No", "status": code, "detail": detail}
        if errors:
            problem["errors"] = [{"place": place, "message": message} for place, message in errors]
        self.says(call, problem, code)

    def asked(self, method: str) -> list[Asked]:
        """The calls with that method."""
        return [call for call in self.calls if call.method == method]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                fields = {name.lower(): value for name, value in self.headers.items()}
                api.calls.append(Asked(self.command, self.path, fields, body, self.client_address[1]))
                code, said = api.answers.get(
                    f"{self.command} {self.path}", (404, {"title": "Not found", "detail": "no such thing"})
                )
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = api.hangs_up

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 -- http.server's names

            def log_message(self, *_: object) -> None:
                """Nothing is logged."""

        return Handler
